"""The space of a search: what Optuna samples, and the fields of the distil config that a point of it means.

The three weights have a common scale that Adam hardly sees: the loss times 2 takes almost the same steps. So they are
8 × a point on the simplex, by two numbers between 0 and 1: `ce_share` of the whole, then `mlm_of_rest`. The paper's
5 / 2 / 1 is exactly ce_share = 5/8, mlm_of_rest = 2/3.
"""

from collections.abc import Mapping

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.config.overrides import Scalar, flat
from pipeline.tuning.config import PAPER, SCALES, TOTAL, Dimension, TuneConfig
from stages.distil.config import DistilConfig
from stages.errors import ConfigError


def distributions(config: TuneConfig) -> dict[str, BaseDistribution]:
    """What is sampled, by the sampler's names."""
    found: dict[str, BaseDistribution] = {}
    if config.temperature is not None:
        found["temperature"] = FloatDistribution(*config.temperature, log=True)
    if config.weights != "fixed":
        found["ce_share"] = found["mlm_of_rest"] = FloatDistribution(0.0, 1.0)
    if config.weights == "scaled":
        found["weights_total"] = FloatDistribution(*SCALES, log=True)
    return found | {dimension.field: _distribution(dimension) for dimension in config.also}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def setting_of(point: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The fields of the distil config that a point means."""
    setting = dict(point)
    if "ce_share" in setting:
        share, rest = float(setting.pop("ce_share") or 0), float(setting.pop("mlm_of_rest") or 0)
        total = float(setting.pop("weights_total", TOTAL) or 0)
        ce, mlm = total * share, total * (1 - share) * rest
        setting |= {"alpha_ce": ce, "alpha_mlm": mlm, "alpha_cos": max(0.0, total - ce - mlm)}
    return setting


def paper_point(config: TuneConfig, distil: DistilConfig) -> dict[str, Scalar]:
    """The paper's setting as the sampler knows it; further fields are as they are in `distil`.

    Raises `ConfigError` where such a field has a value that its own range leaves out.
    """
    point: dict[str, Scalar] = {"temperature": PAPER["temperature"], "ce_share": 5 / 8, "mlm_of_rest": 2 / 3}
    point["weights_total"] = TOTAL
    here = flat(distil)
    for dimension in config.also:
        value = here[dimension.field]
        point[dimension.field] = str(value) if dimension.choices else value
        if not _holds(dimension, value):
            rule = f"must hold {value}, what distil.{dimension.field} is: trial 0 has it beside the paper's setting"
            raise ConfigError(f"the range of {dimension.field}", _shown(dimension), rule)
    return {name: point[name] for name in distributions(config)}


def check_objective(config: TuneConfig, distil: DistilConfig) -> None:
    """Raises `ConfigError` for a search that is to bring the student closer to a teacher which no trial would have."""
    needs_teacher = config.objective != "heldout_mlm_loss"
    if needs_teacher and config.weights == "fixed" and not distil.loss_weights().taught:
        rule = "asks for the teacher, and distil.alpha_ce and distil.alpha_cos are 0: take heldout_mlm_loss"
        raise ConfigError("tune.objective", config.objective, rule)


def _holds(dimension: Dimension, value: Scalar) -> bool:
    if dimension.choices:
        return str(value) in dimension.choices
    return (
        isinstance(value, int | float)
        and dimension.low is not None
        and dimension.high is not None
        and dimension.low <= value <= dimension.high
    )


def _shown(dimension: Dimension) -> str:
    return "|".join(dimension.choices) or f"{dimension.low}..{dimension.high}"
