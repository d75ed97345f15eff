"""The line that goes beside every figure of speed."""

import os
import re

from pipeline.runtime.hardware import hardware


def test_hardware_names_cores_processor_and_memory_in_one_line() -> None:
    line = hardware()
    found = re.match(r"(\d+) × \S.*, (\d+) GiB", line)
    assert found, line
    assert 1 <= int(found[1]) <= (os.cpu_count() or 1)
    assert int(found[2]) >= 1
    assert "\n" not in line


def test_hardware_process_bound_to_one_core_counts_one() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert hardware().startswith("1 × ")
    finally:
        os.sched_setaffinity(0, allowed)
