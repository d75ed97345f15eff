"""Which curves of a training the page shows, under which names, and what they are compared with."""

from collections.abc import Mapping, Sequence

from pipeline.html_report.charts import START, TEACHER, Chart, Level, chart
from pipeline.records.report import RunReport
from pipeline.tracking.figures import Curve
from stages.evaluation.artifact import LOSS, Predicts

Curves = Mapping[str, Curve]


def loss_charts(curves: Curves, objective: Predicts) -> Sequence[Chart]:
    """The training loss, and each of its terms."""
    titles = {
        "loss": "all terms, weighted",
        "loss_ce": "T² · KL(teacher ‖ student)",
        "loss_mlm": LOSS[objective],
        "loss_cos": "1 − cosine of hidden states",
    }
    names = [*titles, *(name for name in curves if name.startswith("loss") and name not in titles)]
    return [chart(titles.get(name, name), curves[name], noisy=True) for name in names if curves.get(name)]


def heldout_charts(curves: Curves, report: RunReport) -> Sequence[Chart]:
    """What was measured on held-out text while the student learned."""
    titles = {
        "heldout_mlm_loss": (f"{LOSS[report.objective]} (nats)", _levels(report, "mlm_loss")),
        "heldout_top1": ("top-1 accuracy", _levels(report, "top1")),
        "heldout_kl": ("KL(teacher ‖ student) (nats)", ()),
        "heldout_agreement": ("share of equal first guesses", ()),
    }
    found = [(title, curves.get(name), levels) for name, (title, levels) in titles.items()]
    return [chart(title, curve, noisy=False, levels=levels) for title, curve, levels in found if curve]


def progress_charts(curves: Curves) -> Sequence[Chart]:
    """How the training went."""
    titles = {
        "learning_rate": "learning rate",
        "grad_norm": "norm of the gradient",
        "tokens_per_second": "tokens per second",
        "mask_rate": "share of masked positions",
    }
    return [chart(title, curves[name], noisy="rate" not in name) for name, title in titles.items() if curves.get(name)]


def _levels(report: RunReport, field: str) -> Sequence[Level]:
    return (
        Level(value=getattr(report.teacher, field), colour=TEACHER),
        Level(value=getattr(report.student_at_init, field), colour=START),
    )
