"""Every family beside transformers' own forward pass and torch's own losses."""

import copy

import numpy as np
import pytest
import torch
from tiny import LENGTH, SPECIAL, VOCAB
from tiny_families import CONFIGS, LAYERS, tiny_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from stages.distillation.data.batch import micro_batches
from stages.distillation.data.masking import Masked
from stages.distillation.data.next_token import next_tokens
from stages.distillation.data.rows import Rows
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import FAMILIES, family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.models.parts import decoder, encode, head_input
from stages.distillation.models.student import take_blocks
from stages.distillation.score import compare, predict, score
from stages.distillation.step import Counts, DistillationModule

every_family = pytest.mark.parametrize("name", CONFIGS)
PIECES = ((7, 5, 3), (16,), (4, 12), (1, 6))
"""Lengths of the pieces of each row; what is left of 16 is padding."""
CPU = torch.device("cpu")


def packed(causal: bool) -> Masked:
    """Rows of several pieces, with three masked tokens each or as a causal model is asked."""
    rng = np.random.default_rng(0)
    ids = rng.integers(len(SPECIAL), VOCAB, (len(PIECES), LENGTH), dtype=np.int32)
    segments = np.zeros_like(ids, dtype=np.int16)
    for row, lengths in enumerate(PIECES):
        numbers = np.repeat(np.arange(1, len(lengths) + 1), lengths)
        segments[row, : len(numbers)] = numbers
    ids[segments == 0] = 0
    if causal:
        return next_tokens(Rows(ids, segments))
    positions = np.sort(np.stack([rng.choice(np.flatnonzero(row), 3, replace=False) for row in segments])).astype(
        np.int32
    )
    labels = np.take_along_axis(ids, positions, axis=1)
    np.put_along_axis(ids, positions, np.int32(SPECIAL.index("[MASK]")), axis=1)
    return Masked(ids, positions, labels, segments)


def pieces(masked: Masked) -> list[tuple[Tensor, Tensor]]:
    """(ids (1, l), labels (l,)) of every piece by itself; labels are -100 where nothing is asked."""
    found = []
    for row, lengths in enumerate(PIECES):
        labels = np.full(LENGTH, -100)
        labels[masked.positions_RM[row]] = masked.labels_RM[row]
        ends = np.cumsum(lengths)
        for start, end in zip(ends - lengths, ends, strict=True):
            ids = torch.from_numpy(masked.input_ids_RL[row, start:end].astype(np.int64)).unsqueeze(0)
            found.append((ids, torch.from_numpy(labels[start:end].astype(np.int64))))
    return found


def plain(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(last hidden states, logits) by transformers' own forward pass, of one piece."""
    body = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    return body, model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]


def test_each_family_is_tried() -> None:
    assert {kind for family in FAMILIES for kind in family.names} == {c.model_type for c in CONFIGS.values()}


@every_family
def test_student_of_the_teachers_depth_gives_the_teachers_logits(name: str) -> None:
    teacher = tiny_model(name)
    student = take_blocks(teacher, range(LAYERS)).eval()
    ids = torch.from_numpy(np.random.default_rng(1).integers(len(SPECIAL), VOCAB, (3, LENGTH)))
    torch.testing.assert_close(student(input_ids=ids).logits, teacher(input_ids=ids).logits, rtol=0, atol=1e-5)
    own = "distilbert" if name == "bert" else teacher.config.model_type
    assert student.config.model_type == own
    assert take_blocks(teacher, range(LAYERS), kind="same").config.model_type == teacher.config.model_type


@every_family
def test_student_is_the_teacher_without_the_blocks_between(name: str) -> None:
    teacher = tiny_model(name)
    chosen = family_of(teacher.config).choose(2, teacher.config)
    student = take_blocks(teacher, chosen, dropout=0.3, kind="same").eval()
    family = family_of(teacher.config)
    shorter = copy.deepcopy(teacher)
    whole = shorter.get_submodule(family.blocks)
    shorter.set_submodule(family.blocks, nn.ModuleList([whole[i] for i in chosen]))
    ids = torch.from_numpy(np.random.default_rng(1).integers(len(SPECIAL), VOCAB, (3, LENGTH)))
    expected = decoder(shorter)(head_input(shorter, encode(shorter, ids)))
    torch.testing.assert_close(student(input_ids=ids).logits, expected, rtol=0, atol=1e-5)
    dropouts = {module.p for module in student.modules() if isinstance(module, nn.Dropout)}
    assert dropouts == {0.3}
    assert len(chosen) == student.config.num_hidden_layers == 2


@every_family
def test_hidden_states_of_packed_pieces_are_those_of_each_by_itself(name: str) -> None:
    model = tiny_model(name)
    masked = packed(family_of(model.config).objective is CAUSAL)
    batch = micro_batches(masked, len(PIECES), CPU)[0]
    assert batch.segments is not None
    found = encode(model, batch.input_ids_RL, batch.segments).flatten(0, 1)[batch.segments.real_N]
    expected = torch.cat([plain(model, ids)[0] for ids, _ in pieces(masked)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    logits = decoder(model)(head_input(model, found))
    torch.testing.assert_close(
        logits, torch.cat([plain(model, ids)[1] for ids, _ in pieces(masked)]), rtol=0, atol=1e-5
    )


@every_family
def test_hidden_states_of_a_block_as_one_line_are_transformers_own(name: str) -> None:
    model = tiny_model(name)
    ids = torch.from_numpy(np.random.default_rng(2).integers(len(SPECIAL), VOCAB, (3, LENGTH)))
    expected = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(encode(model, ids), expected, rtol=0, atol=1e-5)


@every_family
@pytest.mark.parametrize("everywhere", [True, False])
def test_losses_and_gradients_are_those_of_the_plain_form(name: str, everywhere: bool) -> None:
    teacher = tiny_model(name, seed=1)
    student = take_blocks(teacher, family_of(teacher.config).choose(2, teacher.config), dropout=0.0).train()
    theirs = copy.deepcopy(student)
    weights = LossWeights(temperature=3.0, ce_positions="all" if everywhere else "masked")
    masked = packed(family_of(teacher.config).objective is CAUSAL)
    counts = Counts(positions=50, masked=20)
    batch = micro_batches(masked, len(PIECES), CPU)[0]
    loss, _ = DistillationModule(student, weights)(batch, counts, teacher)
    loss.backward()
    expected = plain_loss(theirs, teacher, masked, weights, counts)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    other = dict(theirs.named_parameters())
    for path, parameter in student.named_parameters():
        mine, right = parameter.grad, other[path].grad
        if right is None:
            assert mine is None or not mine.any(), path
        else:
            assert mine is not None, path
            torch.testing.assert_close(mine.to_dense(), right, rtol=1e-4, atol=1e-5, msg=path)


@every_family
def test_two_workers_gradients_have_the_mean_that_one_has(name: str) -> None:
    """As DDP averages them, each having half of the rows, with other numbers of tokens asked for."""
    teacher = tiny_model(name, seed=1)
    student = take_blocks(teacher, family_of(teacher.config).choose(2, teacher.config), dropout=0.0).train()
    masked = packed(family_of(teacher.config).objective is CAUSAL)
    found = []
    for workers in (1, 2):
        counts = Counts(positions=50, masked=20, workers=workers)
        module = DistillationModule(copy.deepcopy(student), LossWeights())
        for batch in micro_batches(masked, len(PIECES) // workers, CPU):
            (module(batch, counts, teacher)[0] / workers).backward()
        found.append({path: parameter.grad for path, parameter in module.named_parameters()})
    for path, gradient in found[0].items():
        if gradient is not None:
            torch.testing.assert_close(found[1][path].to_dense(), gradient.to_dense(), rtol=1e-4, atol=1e-6, msg=path)


def plain_loss(
    student: PreTrainedModel, teacher: PreTrainedModel, masked: Masked, weights: LossWeights, counts: Counts
) -> Tensor:
    """Piece by piece, every logit made."""
    total, t = torch.zeros(()), weights.temperature
    for ids, labels in pieces(masked):
        (hidden, logits), (taught, goal) = plain(student, ids), plain(teacher, ids)
        asked = labels != -100
        where = slice(None) if weights.ce_positions == "all" else asked
        p, q = (logits[where] / t).log_softmax(-1), (goal[where] / t).log_softmax(-1)
        kl = nn.functional.kl_div(p, q, reduction="sum", log_target=True)
        ce_count = counts.positions if weights.ce_positions == "all" else counts.masked
        total = total + weights.alpha_ce * t**2 * kl / ce_count
        mlm = nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        total = total + weights.alpha_mlm * mlm / counts.masked
        cos = (1 - nn.functional.cosine_similarity(hidden, taught, dim=-1)).sum()
        total = total + weights.alpha_cos * cos / counts.positions
    return total


@every_family
def test_scores_are_those_of_transformers_own_logits(name: str) -> None:
    teacher = tiny_model(name, seed=1)
    student = take_blocks(teacher, family_of(teacher.config).choose(2, teacher.config)).eval()
    masked = packed(family_of(teacher.config).objective is CAUSAL)
    batch = micro_batches(masked, len(PIECES), CPU)[0]
    mine, right = predict(student, batch), predict(teacher, batch)
    found, closeness = score(mine, batch), compare(mine, right, batch)
    parts, row = pieces(masked), 0
    for i, lengths in enumerate(PIECES):
        own = parts[row : row + len(lengths)]
        row += len(lengths)
        labels = torch.cat([labels for _, labels in own])
        asked = labels != -100
        with torch.no_grad():
            p, q = (torch.cat([plain(m, ids)[1] for ids, _ in own])[asked].log_softmax(-1) for m in (student, teacher))
        labels = labels[asked]
        loss = nn.functional.nll_loss(p, labels)
        assert float(found.mlm_loss[i]) == pytest.approx(float(loss), abs=1e-5)
        assert float(found.top1[i]) == pytest.approx(float((p.argmax(-1) == labels).double().mean()))
        assert float(closeness.kl[i]) == pytest.approx(float((q.exp() * (q - p)).sum(-1).mean()), abs=1e-5)


@every_family
def test_a_frozen_teacher_computes_what_it_did(name: str) -> None:
    """In fp32 to the bit, in bf16 (tiled where the CPU has the operations) within its rounding."""
    model = tiny_model(name)
    batch = micro_batches(packed(family_of(model.config).objective is CAUSAL), len(PIECES), CPU)[0]
    with torch.inference_mode():
        expected = encode(model, batch.input_ids_RL, batch.segments)
        exact = encode(freeze(copy.deepcopy(model), torch.float32), batch.input_ids_RL, batch.segments)
        frozen = freeze(copy.deepcopy(model), torch.bfloat16)
        found = encode(frozen, batch.input_ids_RL, batch.segments)
        logits = decoder(frozen)(head_input(frozen, found)).float()
        right = decoder(model)(head_input(model, expected))
    assert torch.equal(exact, expected)
    assert float((logits - right).norm() / right.norm()) < 0.05


@every_family
def test_positions_are_as_many_as_the_model_reads(name: str) -> None:
    model = tiny_model(name)
    most = family_of(model.config).positions(model.config)
    ids = torch.full((1, most), len(SPECIAL))
    assert model(input_ids=ids).logits.shape[1] == most
    if model.config.model_type != "modernbert":  # rotary: nothing breaks beyond
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, most + 1), len(SPECIAL)))
