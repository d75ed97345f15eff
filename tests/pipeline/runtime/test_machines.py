"""What is asked of a cluster's machines before a run."""

from pathlib import Path

import pytest
import ray
from tiny_pipeline import tiny_recipe

from pipeline.config.preflight import check_seen_everywhere, fixed_part
from pipeline.runtime.cluster import machines_without


def test_machines_without_names_each_machine_that_lacks_a_path_and_the_first_it_lacks(
    ray_session: None, tmp_path: Path
) -> None:
    here = ray.nodes()[0]["NodeManagerAddress"]
    assert machines_without([str(tmp_path)]) == {}
    assert machines_without([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")]) == {here: str(tmp_path / "a")}


def test_a_corpus_that_every_machine_sees_is_read(ray_session: None, tmp_path: Path) -> None:
    check_seen_everywhere(tiny_recipe(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("/a/b.txt", "/a/b.txt"), ("/a/**/c*.txt", "/a"), ("/a/b[12].txt", "/a"), ("/a/b/?/c", "/a/b"), ("/*", "/")],
)
def test_fixed_part_of_a_glob_is_the_folder_that_it_begins_in(pattern: str, expected: str) -> None:
    assert fixed_part(pattern) == expected
