"""Five libraries told to be quiet, before any of them is imported: most read these settings while they load.

What is in the environment already wins, so that a person can still turn one of them up. Errors are never hidden.
"""

import logging
import os
import warnings

_ALWAYS = {
    "TOKENIZERS_PARALLELISM": "false",  # Ray forks; the tokenizers would warn of a deadlock in every worker
    "RAY_USAGE_STATS_ENABLED": "0",  # and say so on every start
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default; without it every task without a GPU warns
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow looks for git, and explains at length where there is none
}
_QUIET = {
    "PYTHONWARNINGS": "ignore",  # reaches the workers, which inherit it
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DEDUP_LOGS": "1",
    "GLOG_minloglevel": "2",
    "GRPC_VERBOSITY": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
SETTINGS = (*_ALWAYS, *_QUIET)
"""What the processes of other machines need as this one does; those of this one inherit it."""
_LOGGERS = ("ray", "ray.data", "ray.train", "ray.tune", "mlflow", "alembic", "transformers", "datasets", "torch")


def quiet_libraries(verbose: bool) -> None:
    """Call first of all. With `verbose`, only what would warn about our own choices is set."""
    for name, value in (_ALWAYS if verbose else _ALWAYS | _QUIET).items():
        os.environ.setdefault(name, value)
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        return
    warnings.simplefilter("ignore")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
