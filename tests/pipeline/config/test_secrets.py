"""An address with a secret in it never gets as far as a record: which are refused, and what is said of them."""

from dataclasses import replace

import pytest

from pipeline import recipes
from pipeline.config.preflight import preflight
from pipeline.config.redaction import secret_in
from pipeline.config.schema import PipelineConfig
from pipeline.config.secrets import addresses, check_secrets
from pipeline.tracking.config import TrackingConfig
from stages.corpus.config import CorpusConfig
from stages.errors import InputError

SECRET = "hunter2hunter2"


def storing(address: str) -> PipelineConfig:
    return replace(recipes.demo(), storage=address)


def tracking(address: str) -> PipelineConfig:
    return replace(recipes.demo(), tracking=TrackingConfig(uri=address))


def reading(*paths: str) -> PipelineConfig:
    return replace(recipes.demo(), corpus=CorpusConfig(source="files", paths=paths))


@pytest.mark.parametrize(
    ("config", "field", "kind"),
    [
        (storing(f"s3://AKIA:{SECRET}@bucket/runs"), "storage", "a user name or password"),
        (storing(f"s3://bucket/runs?access_key=AKIA&secret_key={SECRET}"), "storage", "the parameter access_key"),
        (tracking(f"https://me:{SECRET}@mlflow.example.org"), "tracking.uri", "a user name or password"),
        (
            reading("texts/*.txt", f"https://h/x?X-Amz-Signature={SECRET}"),
            "corpus.paths",
            "the parameter X-Amz-Signature",
        ),
    ],
)
def test_check_secrets_address_with_a_secret_is_refused_by_field_and_never_repeated(
    config: PipelineConfig, field: str, kind: str
) -> None:
    with pytest.raises(InputError) as refused:
        check_secrets(config, {})
    assert str(refused.value).startswith(f"{field} holds {kind}")
    assert "environment" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_check_secrets_tracking_address_in_the_environment_is_refused_too() -> None:
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI holds .*MLFLOW_TRACKING_PASSWORD") as refused:
        check_secrets(recipes.demo(), {"MLFLOW_TRACKING_URI": f"http://me:{SECRET}@mlflow:5000"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        storing("s3://bucket/runs"),
        storing("/mnt/me@work/runs"),
        tracking("http://127.0.0.1:5000"),
        tracking("sqlite:////home/me@work/mlflow.db"),
        reading("s3://bucket/texts/*.jsonl", "https://host/corpus.txt?version=3"),
    ],
)
def test_check_secrets_ordinary_addresses_pass(config: PipelineConfig) -> None:
    environment = {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "AWS_SECRET_ACCESS_KEY": SECRET}
    check_secrets(config, environment)
    assert {secret_in(text) for _, text in addresses(config, environment)} == {None}


def test_preflight_refuses_a_secret_before_it_looks_at_anything_else() -> None:
    config = replace(reading("/does/not/exist/*.txt"), storage=f"s3://AKIA:{SECRET}@bucket/runs")
    with pytest.raises(InputError, match="storage holds a user name or password"):
        preflight(config)


def test_preflight_storage_with_a_query_is_sent_to_the_environment() -> None:
    with pytest.raises(InputError, match=r"storage is .* must have no \? .* AWS_ENDPOINT_URL"):
        preflight(storing("s3://bucket/runs?endpoint_override=localhost:9000"))
