"""The space of a search: weights on a simplex, the paper's setting exactly in it."""

import numpy as np
import optuna
import pytest

from pipeline.config.overrides import override
from pipeline.tuning.config import PAPER, Dimension, TuneConfig
from pipeline.tuning.space import check_objective, distributions, paper_point, setting_of
from stages.distil.config import DistilConfig
from stages.errors import ConfigError

RATE = Dimension(field="learning_rate", low=1e-4, high=1e-2, log=True)
LAYERS = Dimension(field="layers", choices=("alternate", "0,3"))


def test_setting_of_the_paper_s_point_is_exactly_5_2_1_at_temperature_2() -> None:
    assert setting_of(paper_point(TuneConfig(), DistilConfig())) == PAPER
    scaled = paper_point(TuneConfig(weights="scaled"), DistilConfig())
    assert setting_of(scaled) == PAPER


def test_setting_of_any_point_has_weights_that_are_not_negative_and_add_up_to_8() -> None:
    """Beside the simplex written out: a stick of length 8 broken at `ce_share`, and its rest at `mlm_of_rest`."""
    rng = np.random.default_rng(0)
    corners = [(a, b) for a in (0.0, 1.0) for b in (0.0, 1.0)]
    for share, rest in [*corners, *rng.random((200, 2))]:
        setting = setting_of({"temperature": 3.0, "ce_share": share, "mlm_of_rest": rest})
        weights = [setting[name] for name in ("alpha_ce", "alpha_mlm", "alpha_cos")]
        assert min(weights) >= 0
        assert weights == pytest.approx([8 * share, 8 * (1 - share) * rest, 8 * (1 - share) * (1 - rest)], abs=1e-12)
        assert setting["temperature"] == 3.0


def test_setting_of_a_scaled_point_adds_up_to_its_total() -> None:
    setting = setting_of({"ce_share": 0.25, "mlm_of_rest": 0.5, "weights_total": 20.0})
    assert setting == {"alpha_ce": 5.0, "alpha_mlm": 7.5, "alpha_cos": 7.5}


def test_every_sampled_setting_makes_a_config() -> None:
    whole = Dimension(field="global_batch", low=8, high=64)
    config = TuneConfig(weights="scaled", also=(RATE, LAYERS, whole))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        point = study.ask(fixed_distributions=distributions(config)).params
        setting = setting_of(point)
        made = override(DistilConfig(), [(name, str(value)) for name, value in setting.items()])
        assert made.temperature == setting["temperature"]  # exactly, through text
        assert made.alpha_ce + made.alpha_mlm + made.alpha_cos == pytest.approx(point["weights_total"])
        assert made.layers in ("alternate", (0, 3))
        assert 8 <= made.global_batch <= 64


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (TuneConfig(), {"temperature", "ce_share", "mlm_of_rest"}),
        (TuneConfig(temperature=None), {"ce_share", "mlm_of_rest"}),
        (TuneConfig(weights="fixed"), {"temperature"}),
        (TuneConfig(weights="scaled"), {"temperature", "ce_share", "mlm_of_rest", "weights_total"}),
        (TuneConfig(weights="fixed", temperature=None, also=(RATE, LAYERS)), {"learning_rate", "layers"}),
    ],
)
def test_distributions_and_paper_s_point_have_what_is_searched_and_nothing_else(
    config: TuneConfig, names: set[str]
) -> None:
    assert set(distributions(config)) == names
    assert set(paper_point(config, DistilConfig())) == names


def test_paper_point_has_the_recipe_s_own_further_fields() -> None:
    point = paper_point(TuneConfig(also=(RATE, LAYERS)), DistilConfig(learning_rate=2e-3, layers=(0, 3)))
    assert (point["learning_rate"], point["layers"]) == (2e-3, "0,3")


def test_paper_point_outside_of_a_further_field_s_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the range of learning_rate is '0.0001..0.01' but must hold 0.5"):
        paper_point(TuneConfig(also=(RATE,)), DistilConfig(learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"the range of layers .* must hold released"):
        paper_point(TuneConfig(also=(LAYERS,)), DistilConfig(layers="released"))


def test_objective_of_closeness_to_a_teacher_that_no_trial_has_is_refused() -> None:
    alone = DistilConfig(alpha_ce=0.0, alpha_cos=0.0)
    with pytest.raises(ConfigError, match=r"tune\.objective.*alpha_ce and distil\.alpha_cos are 0"):
        check_objective(TuneConfig(objective="heldout_kl", weights="fixed"), alone)
    for config in (TuneConfig(weights="fixed"), TuneConfig(objective="heldout_kl")):
        check_objective(config, alone)
    check_objective(TuneConfig(objective="heldout_kl", weights="fixed"), DistilConfig())
