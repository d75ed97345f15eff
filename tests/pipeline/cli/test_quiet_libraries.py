"""What is set before the libraries are imported; in processes of their own, as it is set for good."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, logging, os, warnings
from pipeline.cli.quiet_libraries import quiet_libraries
quiet_libraries(verbose={verbose})
warnings.warn("a warning")
logging.getLogger("mlflow").info("an info")
logging.getLogger("mlflow").error("an error")
print(json.dumps(dict(os.environ)))
"""


def surroundings(verbose: bool, **given: str) -> tuple[dict[str, str], str]:
    """(environment after the call, what was printed on standard error)."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(verbose=verbose)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
        env={"PATH": os.environ["PATH"], **given},
    )
    return json.loads(done.stdout), done.stderr


def test_quiet_hides_warnings_and_no_errors_also_from_workers() -> None:
    environment, shown = surroundings(verbose=False)
    assert shown == "an error\n"
    assert environment["PYTHONWARNINGS"] == "ignore"
    assert environment["TRANSFORMERS_VERBOSITY"] == "error"


def test_quiet_leaves_what_a_person_has_set() -> None:
    assert surroundings(verbose=False, TRANSFORMERS_VERBOSITY="debug")[0]["TRANSFORMERS_VERBOSITY"] == "debug"


def test_verbose_shows_all() -> None:
    environment, shown = surroundings(verbose=True)
    assert all(text in shown for text in ("a warning", "an info", "an error"))
    assert "PYTHONWARNINGS" not in environment
