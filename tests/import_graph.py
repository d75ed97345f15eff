"""Who imports whom in both packages, read from the files.

Every import statement counts, wherever it stands: inside of a function or under TYPE_CHECKING too.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def module_name(file: Path, root: Path) -> str:
    """`stages/training/channel.py` is stages.training.channel, `stages/__init__.py` stages."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of(root: Path) -> dict[str, Path]:
    """The files of both packages by their modules' names."""
    return {module_name(file, root): file for name in ("pipeline", "stages") for file in (root / name).rglob("*.py")}


def imports_of(module: str, file: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports: our own modules by their full names, all others by their top packages."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} line {node.lineno}: imports are absolute"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]  # `from stages import mail`
            names = [one if one in known else str(node.module) for one in inside]
        else:
            continue
        found |= {name if name in known else name.split(".")[0] for name in names}
    return found - {module}


def graph_of(root: Path) -> dict[str, set[str]]:
    """What each module of both packages imports."""
    known = modules_of(root)
    return {module: imports_of(module, file, known) for module, file in known.items()}


@cache
def graph() -> dict[str, set[str]]:
    """That of this repository."""
    found = graph_of(ROOT)
    assert len(found) > 100
    return found


def reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Everything that importing `start` imports sooner or later."""
    seen: set[str] = set()
    queue = [start]
    while queue:
        new = edges.get(queue.pop(), set()) - seen
        seen |= new
        queue += new
    return seen


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The groups of modules that import one another, directly or not."""
    after = {module: reached(module, edges) for module in edges}
    knots = (frozenset({module, *(one for one in after[module] if module in after.get(one, ()))}) for module in edges)
    return {knot for knot in knots if len(knot) > 1}
