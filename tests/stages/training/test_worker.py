"""What a worker does around the step: micro-batches, dropout and its seeds, precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_batch, tiny_bert

from stages.distillation.data.batch import micro_batches
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import Masked
from stages.distillation.hardware import dtype_of
from stages.distillation.models.student import take_blocks
from stages.distillation.schedule import dropout_seed
from stages.errors import InputError
from stages.models import load_model
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.config import TrainConfig
from stages.training.job import Job, TrainingTask
from stages.training.start.begin import compiles_blocks

CPU = torch.device("cpu")


def test_micro_batches_cut_a_share_into_rows_in_order_the_last_one_short() -> None:
    masked = Masked(*(np.arange(7 * n, dtype=np.int32).reshape(7, n) for n in (5, 2, 3)))
    found = micro_batches(masked, 3, CPU)
    assert [len(batch.labels_RM) for batch in found] == [3, 3, 1]
    for name in ("input_ids_RL", "positions_RM", "labels_RM"):
        joined = torch.cat([getattr(batch, name) for batch in found])
        assert joined.dtype == torch.int64
        np.testing.assert_array_equal(joined.numpy(), getattr(masked, name))


def test_dropout_seed_is_another_one_at_every_step_rank_and_seed_and_fits_torch() -> None:
    places = [(seed, step, rank) for seed in (0, 1, 2**32 - 1) for step in (0, 1, 500_000) for rank in (0, 1, 63)]
    seeds = [dropout_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    for seed in seeds:
        torch.manual_seed(seed)


@pytest.mark.parametrize("kind", ["bert", "student"])
def test_load_model_dropout_given_is_every_dropout_the_model_has(kind: str, tmp_path: Path) -> None:
    """Attention's too: at 0 a model in train mode computes what it does in eval mode, at 0.5 it does not."""
    bert = tiny_bert(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    (bert if kind == "bert" else take_blocks(bert, (0, 1), dropout=0.3)).save_pretrained(tmp_path)
    folder, ids = Folder(str(tmp_path)), tiny_batch().input_ids_RL
    with torch.no_grad():
        expected = load_model(folder, torch.float32, CPU).eval()(ids).logits
        without = load_model(folder, torch.float32, CPU, dropout=0.0).train()
        assert torch.equal(without(ids).logits, expected)
        assert not torch.allclose(load_model(folder, torch.float32, CPU, dropout=0.5).train()(ids).logits, expected)


def test_dtype_of_named_is_taken_and_auto_is_what_the_cpu_multiplies() -> None:
    assert [dtype_of(p, CPU) for p in ("bf16", "fp16", "fp32")] == [torch.bfloat16, torch.float16, torch.float32]
    assert dtype_of("auto", CPU) in (torch.bfloat16, torch.float32)


def test_compile_without_a_compiler_is_refused_before_anything_is_loaded(
    blocks: Blocks, task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    plan = Plan(shard_rows=(72,), global_batch=12, steps=2000, seed=0)
    config = TrainConfig(steps=2000, global_batch=12, compile=True)
    job = Job(task=task, config=config, plan=plan, blocks=blocks, folder=Folder(str(tmp_path)), seed=0, use_gpu=False)
    with pytest.raises(InputError, match=r"no C\+\+ compiler \(no-such-compiler\) on this machine"):
        compiles_blocks(job, torch.device("cpu"))
    assert not compiles_blocks(replace(job, config=replace(config, compile="auto")), torch.device("cpu"))
    if not torch.cuda.is_available():  # where there is no GPU, Triton cannot compile for one
        with pytest.raises(InputError, match=r"asks for torch\.compile, and Triton cannot compile here \("):
            compiles_blocks(job, torch.device("cuda"))
        assert not compiles_blocks(replace(job, config=replace(config, compile="auto")), torch.device("cuda"))
    assert not compiles_blocks(replace(job, config=replace(config, compile=False)), torch.device("cpu"))
