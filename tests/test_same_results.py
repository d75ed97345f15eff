"""A stage whose code changed is looked at before its old records go on to count."""

import json
import re
from pathlib import Path

import pytest
from import_graph import ROOT, modules_of
from same_results import FILE, PYTHON, STAGES, bare, digests_now, stages_now

PINNED = json.loads(FILE.read_text())


def test_digests_of_a_tiny_corpus_its_blocks_masks_and_order_are_what_they_were(
    ray_session: None, tmp_path: Path
) -> None:
    assert digests_now(tmp_path) == PINNED["digests"], "results have changed: raise the stage's version"


@pytest.mark.skipif(PINNED["python"] != PYTHON, reason="another Python's parser gives other hashes")
def test_code_of_every_stage_is_what_its_version_was_given_for() -> None:
    now = stages_now()
    assert now.keys() == PINNED["stages"].keys()
    changed = [name for name, one in now.items() if one != PINNED["stages"][name]]
    assert not changed, (
        f"the code of {', '.join(changed)} has changed: raise its version in @stage(...) where its results have, and "
        "then, or where they have not, `make same-results`"
    )


def test_every_stage_of_the_package_is_among_them() -> None:
    marked = {
        f"{module}:{name}"
        for module, file in modules_of(ROOT).items()
        for name in re.findall(r"^@stage\(.*\)\ndef (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert marked == set(STAGES)


def test_bare_code_has_neither_comments_nor_docstrings() -> None:
    plain = "def f(x):\n    return x + 1\n"
    told = '"""A module."""\n\ndef f(x):  # why\n    """What."""\n    return (x +\n        1)\n'
    assert bare(told) == bare(plain)
    assert bare(plain) != bare(plain.replace("1", "2"))
