"""What MLflow's pages show: Markdown about an experiment, a run, a registered model and its versions, and the figures
that runs are sorted by.

A text ends with a line that says whose it is. What a person wrote stays: without that line nothing is written over.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.redaction import redacted
from stages.evaluation.artifact import LOSS, ModelScore, Report

if TYPE_CHECKING:
    from pipeline.records.report import RunReport

NOTE, KIND = "mlflow.note.content", "mlflow.experimentKind"
"""Tags: of an experiment or a run, its description; of an experiment, which of MLflow's pages it opens in."""
CANDIDATE, CHAMPION = "candidate", "champion"
"""The aliases of a registered model."""
_INFERRED = "inferred"
"""In the kinds that MLflow's pages guessed and put there themselves."""
OURS = "_Kept up to date by `distil`: without this line it stays as you write it._"
_BEFORE = "Distilled language models; @champion is the best so far."
"""What earlier versions wrote of a registered model."""
FINAL = {"heldout_mlm_loss": "final/heldout_mlm_loss", "heldout_top1": "final/heldout_top1"}
"""What runs are sorted by of what a training measures on held-out text, and its names at a run's end."""
_LONGEST = 2000
"""Characters of a command; a shell may have put a thousand files in the place of a `*`."""
_USES = {
    "masked": """import mlflow
fill = mlflow.transformers.load_model("{uri}")  # fill-mask
print(fill(f"The {{fill.tokenizer.mask_token}} of a tensor."))""",
    "causal": """import mlflow
write = mlflow.transformers.load_model("{uri}")  # text-generation
print(write("The shape of a tensor", max_new_tokens=20))""",
}


def final(measured: Mapping[str, float]) -> dict[str, float]:
    """The figures to sort by, of a student that was compared with no teacher: of its last evaluation."""
    return {name: measured[metric] for metric, name in FINAL.items() if metric in measured}


def final_of(report: Report) -> dict[str, float]:
    """The figures to sort by, of a student that was scored beside its teacher."""
    beside = {f"final/{name}": float(getattr(report, name)) for name in ("kept_top1", "size_ratio", "speedup")}
    return beside | final({"heldout_mlm_loss": report.student.mlm_loss, "heldout_top1": report.student.top1})


def is_ours(text: str | None) -> bool:
    """Whether a description may be written over: there is none, or nobody but us wrote it."""
    return not text or text.rstrip().endswith(OURS) or text == _BEFORE


def of_experiment(newest: str = "") -> dict[str, str]:
    """The tags of an experiment. `newest`: the description of the run that came to its end last."""
    about = """Language models distilled from larger ones by `distil run`, and searches for their settings by
`distil tune`, with a run below them for each trial.

- Sort the runs by `final/kept_top1`, `final/size_ratio`, `final/speedup`, `final/heldout_mlm_loss` or
  `final/heldout_top1`.
- `loss` and what begins with `heldout_` are by optimiser step; `system/` is the machine that the driver ran on.
- A run's `config.yaml`, among its artifacts, makes it again: `distil run --config config.yaml`."""
    newest = newest.replace("\n## ", "\n### ").removesuffix(OURS).rstrip()
    return {
        KIND: "custom_model_development",  # else MLflow takes it for an application that calls models
        NOTE: _text(about, f"## The newest whole run\n\n{newest}" if newest else ""),
    }


def lacking(tags: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Which of the `wanted` tags of an experiment it is to be given: what a person chose or wrote stays."""
    kind, note = tags.get(KIND, ""), tags.get(NOTE)
    keeps = {KIND: bool(kind) and _INFERRED not in kind, NOTE: not is_ours(note)}
    return {name: text for name, text in wanted.items() if not keeps.get(name) and tags.get(name) != text}


def of_run(name: str, command: str, report: Report | None = None, model_uri: str = "", verdict: str = "") -> str:
    """A run of the recipe `name`: with what its student kept, and the model's use, as far as there are any."""
    return _text(
        f"A run of the recipe `{name}`.",
        kept_table(report) if report else "",
        f"Gate: {verdict}." if verdict else "",
        usage(report, model_uri) if report and model_uri else "",
        made_by(command),
    )


def of_text(text: str, command: str) -> str:
    """A run that came to something else, which `text` tells."""
    return _text(text, made_by(command))


def of_model(name: str, version: int, report: Report, *, is_champion: bool, command: str) -> str:
    """A registered model: what its aliases mean, and the version that they lead to."""
    alias = "champion" if is_champion else "candidate"
    return _text(
        "A distilled language model. `@candidate` is the version that was published last; `@champion` is the best, by "
        "its loss on held-out text (95 % confidence).",
        f"## Version {version}, @{alias}\n\n{kept_table(report)}",
        usage(report, f"models:/{name}@{alias}"),
        made_by(command),
    )


def of_version(model_uri: str, verdict: str, report: Report, command: str) -> str:
    """A version of a registered model."""
    return _text(kept_table(report), f"Gate: {verdict}.", usage(report, model_uri), made_by(command))


@dataclass(frozen=True)
class Measure:
    """A figure of teacher, student at step 0 and student, and what was kept of the teacher's, as text."""

    name: str
    teacher: str
    start: str
    student: str
    kept: str


def measures(report: "Report | RunReport") -> list[Measure]:
    """What was measured on held-out text, of size, and of speed."""
    rows = (
        ("top-1 accuracy", "top1", ".3f", f"{report.kept_top1:.1%}"),
        (LOSS[report.objective], "mlm_loss", ".3f", ""),
        ("perplexity", "perplexity", ",.1f", ""),
        ("parameters", "parameters", ",d", f"{report.size_ratio:.1%}"),
        ("bytes (fp32)", "bytes", ",d", ""),
        ("encoder, one block (ms)", "latency_ms", ".1f", f"{report.speedup:.2f} × faster"),
    )
    models: tuple[ModelScore, ...] = (report.teacher, report.student_at_init, report.student)
    found = []
    for title, field, form, kept in rows:
        teacher, start, student = (format(getattr(model, field), form) for model in models)
        found.append(Measure(title, teacher, start, student, kept))
    return found


def kept_table(report: Report) -> str:
    """Teacher, student at step 0, student, and what was kept of the teacher."""
    lines = ["| held-out text | teacher | student at step 0 | student | kept |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(astuple(measure))} |" for measure in measures(report)]
    agreement = f"{report.agreement:.1%} agree, KL {report.kl:.3f}, cosine {report.cosine:.3f}"
    return "\n".join(lines) + f"\n\nStudent and teacher: {agreement}, on {report.heldout_tokens:,} held-out tokens."


def usage(report: Report, model_uri: str) -> str:
    """The model's use in three lines."""
    code = _USES[report.objective].format(uri=model_uri)
    return f"## Its use\n\nWith `MLFLOW_TRACKING_URI` set to this MLflow's address:\n\n```python\n{code}\n```"


def command_line(argv: Sequence[str], instead: str) -> str:
    """The command that this process is, to be given again, without secrets; `instead` where the program is no `distil`
    but one that uses it."""
    program, *words = argv or [""]
    ours = Path(program).name == "distil" or Path(program).parts[-3:] == ("pipeline", "cli", "main.py")
    return shlex.join(["distil", *map(redacted, words)]) if ours and words else instead


def made_by(command: str) -> str:
    """The command that made something, as a part of a page."""
    short = command if len(command) <= _LONGEST else f"{command[:_LONGEST]} …"
    return f"## The command\n\n```sh\n{short}\n```\n\nEvery field is in `config.yaml`, among the artifacts of the run."


def _text(*parts: str) -> str:
    return "\n\n".join([*filter(None, parts), OURS])
