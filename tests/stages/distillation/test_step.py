"""One step: micro-batches and workers change nothing; what AdamW decays; clipping; DDP in two real processes."""

import copy
import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tiny import no_dropout, tiny_batch, tiny_bert
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.data.batch import Batch
from stages.distillation.families.family import LanguageModel
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Arithmetic, Counts, DistillationModule, accumulate, adamw, update

CPU = torch.device("cpu")
ROWS, MASKED, LENGTH = 8, 3, 16
SHARES = {
    2: ((slice(0, 4), slice(4, 8)), (slice(0, 6), slice(6, 8))),
    4: ((slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)), (slice(0, 5), slice(5, 6), slice(6, 7), slice(7, 8))),
}
"""A global batch of 8 rows on two and on four workers: equally, and unequally, so several micro-batches beside one."""


def fp32() -> Arithmetic:
    return Arithmetic(device=CPU, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))


def counts(workers: int = 1) -> Counts:
    return Counts(positions=ROWS * LENGTH, masked=ROWS * MASKED, workers=workers)


def models() -> tuple[LanguageModel, LanguageModel]:
    teacher = tiny_bert(layers=4).requires_grad_(False)
    return no_dropout(take_blocks(teacher, (0, 2)).requires_grad_(True)), teacher


def part(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.input_ids_RL[rows], batch.positions_RM[rows], batch.labels_RM[rows])


def micro_batches(batch: Batch, size: int) -> list[Batch]:
    return [part(batch, slice(i, i + size)) for i in range(0, len(batch.labels_RM), size)]


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters()]


def assert_same_gradients(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-5) -> None:
    """Relative to each gradient's norm; where that is nothing but rounding (a key's bias), to the largest."""
    largest = max(gradient.norm() for gradient in expected)
    for mine, whole in zip(found, expected, strict=True):
        assert (mine - whole).norm() <= tolerance * (whole.norm() + 1e-2 * largest)


@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("size", [1, 3])
def test_accumulate_micro_batches_give_the_gradients_and_sums_of_one_batch(size: int, positions: str) -> None:
    """3: micro-batches of 3, 3 and 2 rows."""
    batch, found = tiny_batch(rows=ROWS, masked=MASKED), []
    for cut in (ROWS, size):
        student, teacher = models()
        module = DistillationModule(student, LossWeights(ce_positions=positions))  # type: ignore[arg-type]
        sums = accumulate(module, teacher, micro_batches(batch, cut), counts(), fp32())
        found.append((sums, gradients(module)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-5)
    assert_same_gradients(found[1][1], found[0][1])


def worker(rank: int, workers: int, rendezvous: str, folder: str) -> None:
    """What one of the processes does: its share of every case, and what it then holds into a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=workers)
    batch, found = tiny_batch(rows=ROWS, masked=MASKED), []
    for shares in SHARES[workers]:
        student, teacher = models()
        module = DistributedDataParallel(DistillationModule(student, LossWeights()))
        sums = accumulate(module, teacher, micro_batches(part(batch, shares[rank]), 2), counts(workers), fp32())
        dist.all_reduce(sums)
        found.append((sums, gradients(module)))
    torch.save(found, f"{folder}/{rank}.pt")
    # DDP first: if it holds the last reference to the group, gloo's thread and this one can wait for each other.
    del module
    dist.destroy_process_group()


@pytest.mark.parametrize("workers", [2, 4])
def test_accumulate_several_workers_have_the_gradients_of_one_whatever_their_shares(
    workers: int, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")  # imports once for all, in a process that has no threads yet
    context.set_forkserver_preload(["stages.distillation.step", "stages.distillation.models.student"])
    args = [(rank, workers, str(tmp_path / "rendezvous"), str(tmp_path)) for rank in range(workers)]
    processes = [context.Process(target=worker, args=a) for a in args]
    for process in processes:
        process.start()
    student, teacher = models()
    module = DistillationModule(student, LossWeights())
    sums = accumulate(module, teacher, [tiny_batch(rows=ROWS, masked=MASKED)], counts(), fp32())
    for process in processes:
        process.join(timeout=90)
        process.kill()  # does nothing to one that has ended
    assert [process.exitcode for process in processes] == [0] * workers
    for rank in range(workers):
        for found_sums, found in torch.load(tmp_path / f"{rank}.pt"):
            torch.testing.assert_close(found_sums, sums, rtol=1e-5, atol=1e-5)
            assert_same_gradients(found, gradients(module))


def test_asked_index_points_at_the_masked_positions_of_the_flattened_batch() -> None:
    batch = tiny_batch()
    flat = batch.input_ids_RL.scatter(1, batch.positions_RM, -batch.labels_RM).flatten()
    assert torch.equal(flat[batch.asked_index()], -batch.labels_RM.flatten())


def test_learner_teacher_gets_no_gradient_and_the_sums_carry_none() -> None:
    student, teacher = models()
    teacher.requires_grad_(True)
    loss, sums = DistillationModule(student, LossWeights())(tiny_batch(rows=ROWS), counts(), teacher)
    loss.backward()
    assert not sums.requires_grad
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_update_is_torchs_clip_and_adamw_and_clears_the_gradients() -> None:
    student, teacher = models()
    plain = copy.deepcopy(student)
    ours = adamw(student, learning_rate=1.0, weight_decay=0.1)
    decayed = [p for n, p in plain.named_parameters() if not n.endswith("bias") and "norm" not in n.lower()]
    others = [p for n, p in plain.named_parameters() if n.endswith("bias") or "norm" in n.lower()]
    theirs = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=1e-2, betas=(0.9, 0.98), eps=1e-6,
    )  # fmt: skip
    for seed in range(3):
        batch = tiny_batch(rows=ROWS, seed=seed)
        accumulate(DistillationModule(student, LossWeights(alpha_ce=50.0)), teacher, [batch], counts(), fp32())
        for mine, other in zip(student.parameters(), plain.parameters(), strict=True):
            other.grad = mine.grad.clone()
        norm = update(student, ours, 1e-2, fp32())
        expected = nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
        theirs.step()
        theirs.zero_grad()
        assert norm.item() == pytest.approx(expected.item(), rel=1e-6)
        assert norm > 5
        assert all(parameter.grad is None for parameter in student.parameters())
    for mine, other in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_update_a_gradient_that_is_no_number_changes_nothing_and_the_next_step_is_as_without_it(bad: float) -> None:
    student, teacher = models()
    plain = copy.deepcopy(student)
    ours, theirs = (adamw(model, learning_rate=1.0, weight_decay=0.1) for model in (student, plain))
    for seed in range(4):
        accumulate(
            DistillationModule(student, LossWeights()), teacher, [tiny_batch(rows=ROWS, seed=seed)], counts(), fp32()
        )
        for mine, other in zip(student.parameters(), plain.parameters(), strict=True):
            other.grad = mine.grad.clone()
        if seed == 2:
            next(student.parameters()).grad[0, 0] = bad
            assert not update(student, ours, 1e-2, fp32()).isfinite()
            assert all(parameter.grad is None for parameter in student.parameters())
        else:
            update(student, ours, 1e-2, fp32())
            update(plain, theirs, 1e-2, fp32())
    assert all(torch.equal(mine, other) for mine, other in zip(student.parameters(), plain.parameters(), strict=True))
    for mine, other in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_adamw_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    student, _ = models()
    groups = adamw(student, learning_rate=1e-3, weight_decay=0.01).param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in student.parameters())
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}
