"""Loss terms and gradients beside a plain implementation of the original's step: all logits, torch's own losses."""

import copy

import pytest
import torch
from tiny import VOCAB, no_dropout, tiny_batch, tiny_bert
from torch import Tensor, nn
from transformers import BertForMaskedLM

from stages.distillation.data.batch import Batch
from stages.distillation.families.family import LanguageModel
from stages.distillation.losses import cpu as losses_cpu
from stages.distillation.losses.formulas import IGNORE, Coefficients
from stages.distillation.losses.head import Head
from stages.distillation.losses.triple import cosine_distance, vocabulary_losses
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Counts, DistillationModule

COUNTS = Counts(positions=6 * 16, masked=6 * 3)


def plain_loss(
    student: LanguageModel, teacher: LanguageModel, batch: Batch, weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """(loss, [L_ce, L_mlm, L_cos]) as the original's step: materialises both models' logits, selects, averages."""
    with torch.no_grad():
        theirs = teacher(batch.input_ids_RL, output_hidden_states=True)
    ours = student(batch.input_ids_RL, output_hidden_states=True)
    labels = torch.full_like(batch.input_ids_RL, IGNORE).scatter(1, batch.positions_RM, batch.labels_RM)
    chosen = torch.ones_like(labels, dtype=torch.bool) if weights.ce_positions == "all" else labels > IGNORE
    t, vocab = weights.temperature, ours.logits.shape[-1]
    ce = nn.KLDivLoss(reduction="batchmean")(
        nn.functional.log_softmax(ours.logits[chosen].view(-1, vocab) / t, dim=-1),
        nn.functional.softmax(theirs.logits[chosen].view(-1, vocab) / t, dim=-1),
    )
    mlm = nn.CrossEntropyLoss(ignore_index=IGNORE)(ours.logits.view(-1, vocab), labels.view(-1))
    hidden = [out.hidden_states[-1].flatten(0, 1) for out in (ours, theirs)]
    cos = nn.CosineEmbeddingLoss(reduction="mean")(*hidden, torch.ones(len(hidden[0])))
    terms = torch.stack([ce * t**2, mlm, cos])
    return weights.alpha_ce * terms[0] + weights.alpha_mlm * terms[1] + weights.alpha_cos * terms[2], terms.detach()


def plain_gradients(
    student: LanguageModel, teacher: LanguageModel, batch: Batch, weights: LossWeights
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(loss, terms, gradients by parameter) of `plain_loss` in fp64: exact, beside fp32."""
    student, teacher = copy.deepcopy(student).double(), copy.deepcopy(teacher).double()
    loss, terms = plain_loss(student, teacher, batch, weights)
    loss.backward()
    return loss.detach(), terms, {name: p.grad for name, p in student.named_parameters()}


def models(tied: bool = True) -> tuple[LanguageModel, BertForMaskedLM]:
    teacher = tiny_bert(layers=4, tie_word_embeddings=tied).requires_grad_(False)
    student = take_blocks(teacher, (0, 2)).requires_grad_(True)
    return no_dropout(student), teacher


def terms_of(sums: Tensor, weights: LossWeights) -> Tensor:
    """The three terms as means, from a learner's sums."""
    ce_count = COUNTS.positions if weights.ce_positions == "all" else COUNTS.masked
    return sums / torch.tensor([ce_count / weights.temperature**2, COUNTS.masked, COUNTS.positions])


def assert_gradients_close(model: nn.Module, expected: dict[str, Tensor], tolerance: float) -> None:
    """Every parameter's gradient, relative to its own norm; where that is 0 (a key's bias), to the largest one's."""
    largest = max(gradient.norm() for gradient in expected.values())
    assert {name for name, _ in model.named_parameters()} == set(expected)
    for name, parameter in model.named_parameters():
        error = (parameter.grad.double() - expected[name]).norm()
        assert error <= tolerance * (expected[name].norm() + 1e-2 * largest), f"{name}: {error / largest:.1e}"


@pytest.mark.parametrize(("chunk", "slab"), [(7, 2 * VOCAB), (256, 10 * VOCAB), (256, 1 << 20)])
@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.5])
def test_learner_terms_and_gradients_are_those_of_the_plain_step(
    temperature: float, positions: str, chunk: int, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7: 96 positions in 14 chunks, the last one short; slabs of 2 and of 10 positions, the last one short."""
    monkeypatch.setattr(losses_cpu, "CHUNK", chunk)
    monkeypatch.setattr(losses_cpu, "SLAB", slab)
    weights = LossWeights(temperature=temperature, ce_positions=positions)  # type: ignore[arg-type]
    (student, teacher), batch = models(), tiny_batch()
    expected, terms, gradients = plain_gradients(student, teacher, batch, weights)
    loss, sums = DistillationModule(student, weights)(batch, COUNTS, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(terms_of(sums, weights).double(), terms, rtol=1e-5, atol=1e-7)
    assert_gradients_close(student, gradients, 1e-5)


@pytest.mark.parametrize(
    "alphas",
    [(5.0, 2.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 2.0, 1.0), (5.0, 0.0, 1.0)],
)
@pytest.mark.parametrize("positions", ["all", "masked"])
def test_learner_any_weights_and_an_untied_decoder_match_the_plain_step(
    alphas: tuple[float, float, float], positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses_cpu, "CHUNK", 10)
    ce, mlm, cos = alphas
    weights = LossWeights(alpha_ce=ce, alpha_mlm=mlm, alpha_cos=cos, ce_positions=positions)  # type: ignore[arg-type]
    (student, teacher), batch = models(tied=False), tiny_batch(seed=1)
    expected, _, gradients = plain_gradients(student, teacher, batch, weights)
    loss, _ = DistillationModule(student, weights)(batch, COUNTS, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_gradients_close(student, gradients, 1e-5)


def test_learner_bert_without_a_teacher_is_masked_lm_alone() -> None:
    model, batch = no_dropout(tiny_bert()), tiny_batch()
    exact = copy.deepcopy(model).double()
    labels = torch.full_like(batch.input_ids_RL, IGNORE).scatter(1, batch.positions_RM, batch.labels_RM)
    expected = exact(batch.input_ids_RL, labels=labels).loss
    expected.backward()
    weights = LossWeights(alpha_ce=0.0, alpha_mlm=1.0, alpha_cos=0.0)
    loss, sums = DistillationModule(model, weights)(batch, COUNTS, None)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert sums.tolist() == pytest.approx([expected.item() * COUNTS.masked], rel=1e-5)
    assert_gradients_close(model, {name: p.grad for name, p in exact.named_parameters()}, 1e-5)


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_learner_in_bf16_is_the_plain_step_within_its_rounding(positions: str) -> None:
    """bf16 keeps 8 bits, so a product is off by up to 2⁻⁹ and a chain of ten by some 2⁻⁶; the teacher is bf16 too."""
    weights = LossWeights(ce_positions=positions)  # type: ignore[arg-type]
    (student, teacher), batch = models(), tiny_batch()
    expected, _, gradients = plain_gradients(student, teacher, batch, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, sums = DistillationModule(student, weights)(batch, COUNTS, freeze(teacher, torch.bfloat16))
    loss.backward()
    assert loss.dtype == sums.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2**-6)
    assert_gradients_close(student, gradients, 2**-4)


@pytest.mark.parametrize("tied", [True, False])
def test_learner_a_tied_tables_gradient_takes_no_second_table(tied: bool) -> None:
    """The looked-up rows' gradients go into the decoder's; alone, the table has a gradient of its own."""
    from torch.utils._python_dispatch import TorchDispatchMode

    tables: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.shape[0:1] == (VOCAB,) and "embedding" in str(func):
                tables.append(str(func))
            return out

    (student, teacher), batch = models(tied=tied), tiny_batch()
    with Watch():
        loss, _ = DistillationModule(student, LossWeights())(batch, COUNTS, teacher)
        loss.backward()
    assert len(tables) == (0 if tied else 1)


def some_head(seed: int, positions: int = 20) -> tuple[Tensor, Head]:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (torch.randn(*s, generator=generator) for s in ((positions, 8), (VOCAB, 8), (VOCAB,)))
    return hidden, Head(weight, bias)


def test_vocabulary_losses_upstream_gradient_multiplies_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses_cpu, "CHUNK", 6)
    labels = torch.arange(20).where(torch.arange(20) % 3 == 0, IGNORE)
    found = []
    for factor in (1.0, -512.0):
        hidden, head = some_head(0)
        leaves = [t.requires_grad_() for t in (hidden, head.weight_VD, head.bias_V)]
        loss, _ = vocabulary_losses(hidden, head, labels, Coefficients(2.0, 0.7, 0.3), some_head(1))
        (loss * factor).backward()
        found.append([leaf.grad / factor for leaf in leaves])
    for one, scaled in zip(*found, strict=True):
        torch.testing.assert_close(one, scaled, rtol=1e-6, atol=1e-8)


def test_vocabulary_losses_of_no_positions_are_nothing() -> None:
    hidden, head = some_head(0, positions=0)
    leaves = [t.requires_grad_() for t in (hidden, head.weight_VD, head.bias_V)]
    loss, sums = vocabulary_losses(
        hidden, head, torch.zeros(0, dtype=torch.int64), Coefficients(2.0, 1.0, 1.0), some_head(1, positions=0)
    )
    loss.backward()
    assert loss.item() == 0
    assert sums.tolist() == [0, 0]
    assert all(leaf.grad.count_nonzero() == 0 for leaf in leaves)


def test_vocabulary_losses_weight_gradient_is_the_same_however_its_rows_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for words in (8192, 7):
        monkeypatch.setattr(losses_cpu, "WORDS", words)
        hidden, head = some_head(0)
        head.weight_VD.requires_grad_()
        loss, _ = vocabulary_losses(hidden, head, torch.zeros(20, dtype=torch.int64), Coefficients(1.0, 1.0, 1.0))
        loss.backward()
        found.append(head.weight_VD.grad)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_vocabulary_losses_second_backward_pass_is_refused() -> None:
    """The gradients are handed on and scaled in place: a second pass would find them changed."""
    hidden, head = some_head(0)
    hidden.requires_grad_()
    loss, _ = vocabulary_losses(hidden, head, torch.zeros(20, dtype=torch.int64), Coefficients(1.0, 1.0, 1.0))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_vocabulary_losses_never_hold_a_tensor_of_all_positions_by_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Watches every tensor that torch makes on the way."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, Tensor))
            return out

    monkeypatch.setattr(losses_cpu, "CHUNK", 10)
    hidden, head = some_head(0, positions=400)
    hidden.requires_grad_()
    with Watch():
        loss, _ = vocabulary_losses(
            hidden, head, torch.zeros(400, dtype=torch.int64), Coefficients(2.0, 1, 1), some_head(1, 400)
        )
        loss.backward()
    assert 10 * VOCAB <= max(sizes) <= 400 * 8 < 400 * VOCAB


def test_vocabulary_losses_masked_term_is_torchs_at_a_temperature_that_flattens_everything() -> None:
    """At T = 60 even the likeliest word's softened probability, to the power of 60, is no fp32 number."""
    labels = torch.arange(20).where(torch.arange(20) % 3 == 0, IGNORE)
    hidden, head = some_head(0)
    leaves = [t.requires_grad_() for t in (hidden, head.weight_VD, head.bias_V)]
    loss, sums = vocabulary_losses(hidden, head, labels, Coefficients(60.0, 0.0, 1.0), some_head(1))
    loss.backward()
    found = [leaf.grad.clone() for leaf in leaves]
    logits = nn.functional.linear(*leaves)
    expected = nn.functional.cross_entropy(logits, labels, reduction="sum")
    assert sums[1].item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(found, torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_vocabulary_losses_count_a_word_that_is_all_but_impossible(temperature: float) -> None:
    """Its probability, e^-400, is no fp32 number; its logarithm is the loss."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[400.0], [0.0], [-1.0]])
    head, labels = Head(weight, torch.zeros(3)), torch.tensor([1])
    _, sums = vocabulary_losses(hidden, head, labels, Coefficients(temperature, 1.0, 1.0), (hidden, head))
    assert sums.tolist() == pytest.approx([0.0, 400.0])


def test_vocabulary_losses_same_logits_have_no_divergence_and_no_gradient() -> None:
    hidden, head = some_head(0)
    hidden.requires_grad_()
    labels = torch.full((20,), IGNORE)
    loss, sums = vocabulary_losses(hidden, head, labels, Coefficients(2.0, 1.0, 1.0), (hidden.detach(), head))
    loss.backward()
    assert abs(loss.item()) < 1e-5
    assert sums[1] == 0
    assert hidden.grad.abs().max() < 1e-6


def test_cosine_distance_is_a_sum_of_one_minus_cosine() -> None:
    ours = torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    theirs = torch.tensor([[3.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert cosine_distance(ours, theirs).item() == pytest.approx(0 + (1 - 0.5**0.5) + 2)
