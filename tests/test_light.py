"""What a person waits for before anything runs: a config, its `--help` and its errors load no heavy library."""

import os
import subprocess
import sys
from pathlib import Path

from workdirs import a_report, a_run

from pipeline.cli.arguments import config_of, named_recipe, parse, split
from pipeline.cli.main import main
from pipeline.config.schema import from_yaml, to_yaml
from pipeline.recipes import NAMES

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "ray", "transformers", "mlflow", "datasets", "pyarrow", "matplotlib", "optuna", "tokenizers", "numpy")


def test_help_configs_their_errors_and_what_is_asked_of_workdirs_load_no_heavy_library(tmp_path: Path) -> None:
    """This file again, as a program in a process of its own: see the end of it."""
    for name in ("a", "b"):
        a_run(tmp_path / name, 32 * name, report=a_report(32 * name))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "--distil.temperature" in done.stdout  # every field was shown
    assert "--tune.trials" in done.stdout
    assert "did you mean distil.temperature?" in done.stderr
    assert "distil.layers is 'half' but must be" in done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: none"


def _ask(runs: str) -> None:
    """Do what needs no more than configs and workdirs, and say which of the heavy libraries were loaded for it."""
    assert main(["--help"]) == main(["run", "--help"]) == main(["run", "demo", "--help"]) == 0
    assert main(["--version"]) == main(["completion"]) == 0
    assert main(["run", "demo", "--distil.temprature", "3"]) == 2
    assert main(["tune", "demo", "--distil.layers", "half"]) == 2
    assert main(["compare", f"{runs}/a", f"{runs}/b"]) == main(["runs", runs, "--json"]) == 0
    for name in NAMES:
        config = named_recipe(name)
        assert from_yaml(to_yaml(config), name) == config
    words, fields = split(["tune", "demo", "--search", "dropout=0..0.3", "--teacher.adapt-steps", "5"])
    assert config_of(parse(words), fields).tune.also[0].field == "dropout"
    print(f"loaded: {', '.join(name for name in HEAVY if name in sys.modules) or 'none'}")


if __name__ == "__main__":
    _ask(sys.argv[1])
