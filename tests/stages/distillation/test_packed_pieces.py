"""Blocks of several documents: everything a model gives and learns from them is what it would from each by itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CLS_ID, LENGTH, MASK_ID, SEP_ID, VOCAB, no_dropout, tiny_bert
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from stages.distillation.data.batch import Batch, micro_batches
from stages.distillation.data.masking import Masked, MaskRule, mask
from stages.distillation.data.rows import Rows, places
from stages.distillation.families.family import LanguageModel
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.compiled import compile_blocks, uncompiled
from stages.distillation.models.parts import encode
from stages.distillation.models.piece_attention import PIECES
from stages.distillation.models.student import take_blocks
from stages.distillation.score import compare, predict, score
from stages.distillation.step import Arithmetic, Counts, DistillationModule, accumulate

CPU = torch.device("cpu")
LAYOUTS = ((16,), (9,), (4, 12), (3, 5, 3, 3), (2, 2, 2, 2, 2, 2, 2, 2))
"""The lengths of a block's pieces: one that fills it, one with padding behind, two, four with padding, many."""


def packed(masked: int = 2) -> Masked:
    """A row for each of `LAYOUTS`: every piece [CLS] … [SEP], with masked positions among all the text's."""
    rng = np.random.default_rng(0)
    ids, segments = np.zeros((len(LAYOUTS), LENGTH), np.int32), np.zeros((len(LAYOUTS), LENGTH), np.int16)
    for row, lengths in enumerate(LAYOUTS):
        ends = np.cumsum(lengths)
        for number, (end, length) in enumerate(zip(ends, lengths, strict=True), start=1):
            piece = rng.integers(5, VOCAB, length)
            if length > 2:
                piece[0], piece[-1] = CLS_ID, SEP_ID
            ids[row, end - length : end], segments[row, end - length : end] = piece, number
    rule = MaskRule((np.arange(VOCAB) > 4).astype(float), np.arange(5, VOCAB, dtype=np.int32), MASK_ID, (masked,))
    return mask(Rows(ids, segments), np.arange(len(ids)), epoch=0, seed=0, rule=rule)


def alone(masked: Masked) -> list[tuple[Tensor, list[int], list[int]]]:
    """(ids (1, n), masked places, what stood there) of every piece, taken out of its block."""
    found = []
    assert masked.segments_RL is not None
    for ids, segments, positions, labels in zip(
        masked.input_ids_RL, masked.segments_RL, masked.positions_RM, masked.labels_RM, strict=True
    ):
        for number in range(1, segments.max() + 1):
            here = np.flatnonzero(segments == number)
            mine = [(p - here[0], label) for p, label in zip(positions, labels, strict=True) if p in here]
            found.append((torch.from_numpy(ids[here]).long()[None], [p for p, _ in mine], [w for _, w in mine]))
    return found


def models() -> tuple[LanguageModel, LanguageModel]:
    teacher = tiny_bert(layers=4).requires_grad_(False)
    return no_dropout(take_blocks(teacher, (0, 2)).requires_grad_(True)), teacher


def plain_loss(
    student: LanguageModel, teacher: LanguageModel, masked: Masked, weights: LossWeights, counts: Counts
) -> Tensor:
    """Piece by piece, through transformers' own forward pass and torch's own losses."""
    total = torch.zeros(())
    t = weights.temperature
    for ids, positions, labels in alone(masked):
        ours = student(ids, output_hidden_states=True)
        with torch.no_grad():
            theirs = teacher(ids, output_hidden_states=True)
        chosen = list(range(ids.shape[1])) if weights.ce_positions == "all" else positions
        log_p, log_q = (torch.log_softmax(out.logits[0, chosen] / t, -1) for out in (ours, theirs))
        kl = nn.functional.kl_div(log_p, log_q, reduction="sum", log_target=True) * t**2
        mlm = nn.functional.cross_entropy(
            ours.logits[0, positions], torch.tensor(labels, dtype=torch.long), reduction="sum"
        )
        cosine = nn.functional.cosine_similarity(ours.hidden_states[-1][0], theirs.hidden_states[-1][0], dim=-1)
        ce_count = counts.positions if weights.ce_positions == "all" else counts.masked
        total = total + weights.alpha_ce * kl / ce_count + weights.alpha_mlm * mlm / counts.masked
        total = total + weights.alpha_cos * (1 - cosine).sum() / counts.positions
    return total


@pytest.mark.parametrize("which", ["teacher", "student"])
@pytest.mark.parametrize("attention", ["eager", "sdpa", PIECES])
def test_encode_hidden_states_of_a_packed_block_are_its_pieces_one_by_one(which: str, attention: str) -> None:
    model = dict(zip(("student", "teacher"), models(), strict=True))[which].eval()
    model.set_attn_implementation(attention)
    masked = packed()
    (batch,) = micro_batches(masked, len(LAYOUTS), CPU)
    with torch.no_grad():
        found = encode(model, batch.input_ids_RL, batch.segments)
        expected = [model(ids, output_hidden_states=True).hidden_states[-1][0] for ids, _, _ in alone(masked)]
    assert found.isfinite().all()
    assert batch.segments is not None
    torch.testing.assert_close(found.flatten(0, 1)[batch.segments.real_N], torch.cat(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("size", [5, 2])
def test_step_loss_and_gradients_of_packed_blocks_are_those_of_their_pieces(positions: str, size: int) -> None:
    """In one micro-batch and in three; means are over the blocks' nominal positions, padding among them."""
    weights, masked = LossWeights(ce_positions=positions), packed()  # type: ignore[arg-type]
    counts = Counts(positions=len(LAYOUTS) * LENGTH, masked=masked.labels_RM.size)
    (student, teacher), (plain, _) = models(), models()
    expected = plain_loss(plain, teacher, masked, weights, counts)
    expected.backward()
    arithmetic = Arithmetic(device=CPU, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
    module = DistillationModule(student, weights)
    sums = accumulate(module, teacher, micro_batches(masked, size, CPU), counts, arithmetic)
    coefficients = torch.tensor([c for term in module.terms for c in counts.coefficients(term)])
    assert (sums * coefficients).sum().item() == pytest.approx(expected.item(), rel=1e-5)
    largest = max(p.grad.norm() for p in plain.parameters())
    for mine, theirs in zip(student.parameters(), plain.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-5 * (theirs.grad.norm() + 1e-2 * largest)


def test_step_what_stands_in_the_padding_changes_nothing() -> None:
    weights, found = LossWeights(), []
    for filler in (0, 7):
        masked = packed()
        assert masked.segments_RL is not None
        ids = np.where(masked.segments_RL == 0, filler, masked.input_ids_RL)
        other = Masked(ids, masked.positions_RM, masked.labels_RM, masked.segments_RL)
        student, teacher = models()
        loss, _ = DistillationModule(student, weights)(
            micro_batches(other, 5, CPU)[0], Counts(positions=80, masked=10), teacher
        )
        loss.backward()
        found.append((loss.detach(), *(p.grad for p in student.parameters())))
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_score_and_compare_of_packed_blocks_leave_padding_out() -> None:
    student, teacher = (model.eval() for model in models())
    masked = packed()
    (batch,) = micro_batches(masked, len(LAYOUTS), CPU)
    mine, theirs = predict(student, batch), predict(teacher, batch)
    losses, cosines = [0.0] * len(LAYOUTS), [0.0] * len(LAYOUTS)
    rows = [row for row, lengths in enumerate(LAYOUTS) for _ in lengths]
    with torch.no_grad():
        for row, (ids, positions, labels) in zip(rows, alone(masked), strict=True):
            ours, others = student(ids, output_hidden_states=True), teacher(ids, output_hidden_states=True)
            picked = torch.log_softmax(ours.logits[0], -1)[positions, labels]
            losses[row] -= picked.sum().item() / masked.labels_RM.shape[1]
            cosine = nn.functional.cosine_similarity(ours.hidden_states[-1][0], others.hidden_states[-1][0], dim=-1)
            cosines[row] += cosine.sum().item() / sum(LAYOUTS[row])
    assert score(mine, batch).mlm_loss.tolist() == pytest.approx(losses, rel=1e-5)
    assert compare(mine, theirs, batch).cosine.tolist() == pytest.approx(cosines, rel=1e-5)


def test_batch_first_is_the_first_row_with_its_pieces() -> None:
    masked = packed()
    (batch,) = micro_batches(masked, len(LAYOUTS), CPU)
    order = [1, 0, 2, 3, 4]
    (turned,) = micro_batches(
        Masked(*(a[order] for a in (masked.input_ids_RL, masked.positions_RM, masked.labels_RM, masked.segments_RL))),  # type: ignore[index]
        len(LAYOUTS),
        CPU,
    )
    for whole, length in ((batch, 16), (turned, 9)):
        first: Batch = whole.first(CPU)
        assert first.segments is not None
        assert torch.equal(first.input_ids_RL, whole.input_ids_RL[:1])
        assert first.segments.real_N.tolist() == list(range(length))


def test_places_begin_anew_in_each_piece_and_in_the_padding() -> None:
    segments = np.array([[1, 1, 1, 2, 2, 0, 0], [1, 2, 3, 3, 3, 3, 4]], dtype=np.int16)
    assert places(segments).tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 0, 0, 1, 2, 3, 0]]


def test_attention_of_pieces_is_loaded_by_name_and_leaves_no_trace_in_the_saved_model(tmp_path: Path) -> None:
    models()[0].save_pretrained(tmp_path / "student")
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "student", attn_implementation=PIECES)
    assert loaded.config._attn_implementation == PIECES
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "student" / "config.json").read_text()


@pytest.mark.parametrize("attention", ["sdpa", PIECES])
def test_compiled_blocks_give_what_they_gave_and_keep_the_names_of_their_weights(attention: str) -> None:
    """Traced and not made into machine code, which takes a compiler and a minute."""
    student, teacher = models()
    masked, names = packed(), list(student.state_dict())
    whole, halves = micro_batches(masked, len(LAYOUTS), CPU)[0], micro_batches(masked, 2, CPU)
    for model in (student, teacher):
        model.set_attn_implementation(attention)
        before = [encode(model, b.input_ids_RL, b.segments) for b in (whole, *halves)]
        compile_blocks(model, backend="aot_eager")
        after = [encode(model, b.input_ids_RL, b.segments) for b in (whole, *halves)]
        with uncompiled():
            plain = encode(model, whole.input_ids_RL, whole.segments)
        for one, other in zip((*before, before[0]), (*after, plain), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert list(student.state_dict()) == names
