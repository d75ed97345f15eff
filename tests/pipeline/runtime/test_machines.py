"""What is asked of a cluster's machines before a run."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from tiny_pipeline import tiny_recipe

from pipeline.config.preflight import check_seen_everywhere, fixed_part
from pipeline.runtime.cluster import machines_without
from stages.errors import ConfigError


def test_machines_without_names_each_machine_that_lacks_a_path_and_the_first_it_lacks(
    ray_session: None, tmp_path: Path
) -> None:
    here = ray.nodes()[0]["NodeManagerAddress"]
    assert machines_without([str(tmp_path)]) == {}
    assert machines_without([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")]) == {here: str(tmp_path / "a")}


def test_a_folder_that_another_process_does_not_see_is_refused_and_one_that_all_see_is_not(
    ray_session: None, tmp_path: Path
) -> None:
    """A path by this process's own number stands for a disk of this machine's: nobody else has it under /proc/self."""
    everywhere = tiny_recipe(tmp_path)
    assert check_seen_everywhere(everywhere) is None  # type: ignore[func-returns-value]
    own = replace(everywhere.corpus, paths=(*everywhere.corpus.paths, f"/proc/self/task/{os.getpid()}/*.txt"))
    with pytest.raises(ConfigError, match=rf"corpus\.paths is '/proc/self/task/{os.getpid()}' but is not there on "):
        check_seen_everywhere(replace(everywhere, corpus=own))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("/a/b.txt", "/a/b.txt"), ("/a/**/c*.txt", "/a"), ("/a/b[12].txt", "/a"), ("/a/b/?/c", "/a/b"), ("/*", "/")],
)
def test_fixed_part_of_a_glob_is_the_folder_that_it_begins_in(pattern: str, expected: str) -> None:
    assert fixed_part(pattern) == expected
