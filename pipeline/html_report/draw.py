"""Draw the page of a finished run, put it into the workdir, and let MLflow have it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
import ray

from pipeline.config.schema import PipelineConfig
from pipeline.html_report.contents import Contents, contents
from pipeline.html_report.examples import Example, examples
from pipeline.records.products import Products
from pipeline.records.report import RunReport
from pipeline.tracking.live_run import LiveRun
from stages.errors import innermost

NAME = "report.html"
PATIENCE = 600.0
"""Seconds that filling a few sentences may take; it waits for a free CPU like any stage."""


def draw(
    config: PipelineConfig,
    products: Products,
    report: RunReport,
    workdir: Path,
    live: LiveRun,
    say: Callable[[str], object],
) -> None:
    """Write `<workdir>/report.html` and log it. The run is finished by then: what goes wrong here is said, and costs it
    nothing."""
    try:
        html = page(contents(config, products, report, filled(products, report, say)))
        (workdir / NAME).write_text(html, encoding="utf-8")
        live.log_text(NAME, html)
    except Exception as error:
        say(f"{NAME} could not be drawn ({type(error).__name__}: {error}); the run and its report.json are whole.")


def filled(products: Products, report: RunReport, say: Callable[[str], object]) -> Sequence[Example]:
    """Held-out sentences filled by both models, as a Ray task: two models more are too much for some drivers."""
    assert products.published is not None, "only a run that published has a page"
    folders = products.teacher.artifact.folder, products.published.artifact.folder
    task = ray.remote(num_cpus=1)(examples)
    waiting = task.remote(products.corpus.artifact, *folders, causal=report.objective == "causal")
    try:
        return ray.get(waiting, timeout=PATIENCE)
    except ray.exceptions.RayError as error:
        ray.cancel(waiting, force=True)
        why = innermost(error)
        say(f"{NAME} is without words that both models filled in ({type(why).__name__}: {why}).")
        return ()


def page(contents: Contents) -> str:
    """The whole file; what comes from texts and configs is escaped."""
    here = jinja2.PackageLoader("pipeline.html_report", "template")
    made = jinja2.Environment(loader=here, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return made.get_template("page.html").render(page=contents)
