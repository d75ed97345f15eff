"""How the two packages are built: which module may import which, and how long a file and a function may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import ROOT, circles, graph, graph_of, modules_of, reached

MOST_LINES, MOST_FUNCTION_LINES = 250, 60
MOST_FILES, MOST_AT_THE_TOP = 10, 8
"""Python files in a folder, and at the top of a package, `__init__` not counted."""
NOT_IN_THE_SCIENCE = {"ray", "mlflow", "pyarrow", "pydantic"}


def functions_of(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method in a file."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_modules_import_one_another_in_no_circle() -> None:
    assert circles(graph()) == set()


def test_stages_import_nothing_of_the_pipeline() -> None:
    wrong = {
        (module, other)
        for module, imported in graph().items()
        for other in imported
        if module.split(".")[0] == "stages" and other.split(".")[0] == "pipeline"
    }
    assert wrong == set()


def test_science_needs_only_arrays_and_tensors() -> None:
    science = [module for module in graph() if module.startswith("stages.distillation")]
    assert science
    wrong = {module: reached(module, graph()) & NOT_IN_THE_SCIENCE for module in science}
    assert {module: names for module, names in wrong.items() if names} == {}


def test_every_folder_says_what_lives_there_and_holds_few_files() -> None:
    folders: dict[Path, list[str]] = {}
    for file in modules_of(ROOT).values():
        folders.setdefault(file.parent, []).append(file.name)
    for folder, names in folders.items():
        most = MOST_AT_THE_TOP if folder.parent == ROOT else MOST_FILES
        assert len(names) - 1 <= most, f"{folder}: {sorted(names)}"
        sentence = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert sentence, f"{folder}/__init__.py has no docstring"
        assert sentence.endswith(".")


def test_no_file_is_too_long() -> None:
    lengths = {module: len(file.read_text(encoding="utf-8").splitlines()) for module, file in modules_of(ROOT).items()}
    assert {module: lines for module, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{module}.{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for module, file in modules_of(ROOT).items()
        for function in functions_of(file)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_FUNCTION_LINES} == {}


@pytest.mark.parametrize(
    "hidden",
    [
        "import pipeline.b",
        "from pipeline import b",
        "from pipeline.b import y",
        "def f():\n    from pipeline.b import y",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline.b import y",
    ],
)
def test_circle_is_found_however_it_is_written(tmp_path: Path, hidden: str) -> None:
    (tmp_path / "pipeline").mkdir()
    texts = {"a": hidden, "b": "import pipeline.c", "c": "from pipeline.a import z", "d": "import ray"}
    for name, text in texts.items():
        (tmp_path / "pipeline" / f"{name}.py").write_text(text)
    edges = graph_of(tmp_path)
    assert circles(edges) == {frozenset({"pipeline.a", "pipeline.b", "pipeline.c"})}
    assert reached("pipeline.d", edges) == {"ray"}


FAMILIES = ("stages.distillation.families", "stages.teacher.pretrain")
"""Who may name a class of transformers and a literal special token: pre-training is BERT's alone."""
OF_NO_FAMILY = re.compile(r"Auto|PreTrained|AttentionInterface|Conv1D|GELUActivation|ACT2FN")
SPECIAL = re.compile(r"\[(CLS|SEP|MASK|PAD|UNK)\]|</?(s|mask|pad|unk)>|endoftext")


def test_only_families_name_a_models_class_or_a_special_token() -> None:
    wrong = []
    for module, file in modules_of(ROOT).items():
        if module.startswith(FAMILIES) or module.split(".")[0] not in ("stages", "pipeline"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers":
                names = [alias.name for alias in node.names if alias.name[0].isupper()]
                wrong += [f"{module}: {name}" for name in names if not OF_NO_FAMILY.match(name)]
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                wrong += [f"{module}: {node.value!r}"] if SPECIAL.search(node.value) else []
    assert wrong == []


def test_the_family_that_the_documentation_shows_is_the_one_that_runs() -> None:
    shown = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    file = ROOT / "stages" / "distillation" / "families" / "distilbert.py"
    assert f"```python\n{file.read_text(encoding='utf-8')}```" in shown
