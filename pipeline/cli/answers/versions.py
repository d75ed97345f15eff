"""What `distil --version` says: all that a bug report needs, asked of the installed packages and importing none."""

from pipeline.runtime.environment import environment, installed

LIBRARIES = ("torch", "transformers", "ray", "mlflow")


def versions() -> str:
    """Two lines: ours with its commit where that is known, and those of Python and the libraries."""
    here = environment()
    commit = f", commit {here.commit[:12]}{' and changed files' if here.dirty else ''}" if here.commit else ""
    libraries = (f"{name} {installed(name) or 'not installed'}" for name in LIBRARIES)
    return f"distil {installed('distilray') or 'not installed'}{commit}\nPython {here.python}, {', '.join(libraries)}"
