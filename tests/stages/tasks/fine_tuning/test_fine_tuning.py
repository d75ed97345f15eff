"""Fine-tuning beside transformers' own classes and a plain loop of torch's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import SPECIAL
from tiny_families import CONFIGS, model_for, tokenizer_for
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.distillation.step import Arithmetic
from stages.tasks.examples import Examples, Questions, Texts, Words
from stages.tasks.fine_tuning.answers import answers, as_predicted
from stages.tasks.fine_tuning.batches import batch_of, order
from stages.tasks.fine_tuning.head import padding_of, reading_of, with_head
from stages.tasks.fine_tuning.inputs import IGNORED, inputs_of
from stages.tasks.fine_tuning.learn import Scale, Setting, fine_tune, outputs_of, said_to, scale_of
from stages.tasks.fine_tuning.taught import Taught, taught_loss
from stages.tasks.metrics import score
from stages.tasks.task import Kind

CPU = torch.device("cpu")
FP32 = Arithmetic(device=CPU, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
SETTING = Setting(learning_rate=5e-3, epochs=16, batch=8, warmup=0.1, weight_decay=0.01)
NAMES = ("no", "yes")
COLOURS = ("red", "green", "blue", "gray", "pink", "gold")
ALL = (*COLOURS, "one", "two", "six", "ten", "four", "nine")
KINDS: tuple[Kind, ...] = ("classes", "number", "tokens", "spans")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More would wait for one another over products as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentences(count: int) -> list[list[str]]:
    rng = np.random.default_rng(1)
    return [[ALL[number] for number in rng.integers(0, len(ALL), rng.integers(3, 7))] for _ in range(count)]


def task(kind: Kind, count: int = 64) -> Examples:
    """What a model of a few blocks can learn: whether the first word is a colour, as a class and as a number; which of
    all words are; where "here" is."""
    words = sentences(count)
    first, colour = tuple(" ".join(one) for one in words), np.array([int(one[0] in COLOURS) for one in words])
    if kind in ("classes", "number"):
        return Texts(first, None, colour if kind == "classes" else 10.0 + 5 * colour)
    if kind == "tokens":
        return Words(tuple(map(tuple, words)), tuple(tuple(int(word in COLOURS) for word in one) for one in words))
    contexts = tuple(" ".join([*one[:2], "here", *one[2:]]) for one in words)
    found = tuple((("here", context.index("here")),) for context in contexts)
    return Questions(tuple(map(str, range(count))), ("where",) * count, contexts, found)


@pytest.fixture(scope="module", params=CONFIGS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny model of each family with its tokenizer, as the pipeline keeps them."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tokenizer_for(request.param, [*(" ".join(one) for one in sentences(200)), *["here where"] * 50])
    tokenizer.save_pretrained(folder)
    model_for(request.param, tokenizer).save_pretrained(folder)
    return request.param, folder


def loaded(folder: Path, kind: Kind, seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, int]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    pad = padding_of(tokenizer)
    return with_head(folder, kind, NAMES, pad=pad, seed=seed, dropout=0.0, device=CPU), tokenizer, pad


@pytest.mark.parametrize("kind", KINDS)
def test_fine_tuning_of_any_family_learns_each_kind_of_task(saved: tuple[str, Path], kind: Kind) -> None:
    model, tokenizer, pad = loaded(saved[1], kind)
    examples = task(kind)
    inputs = inputs_of(examples, tokenizer, **reading_of(saved[1], 256))
    fine_tune(model, inputs, kind, SETTING, seed=0, pad=pad, arithmetic=FP32)
    said = said_to(model, inputs, kind, batch=16, pad=pad, arithmetic=FP32)
    found = answers(said, inputs, examples, scale_of(kind, inputs.labels))
    metric = {"classes": "accuracy", "number": "r2", "tokens": "accuracy", "spans": "squad_f1"}[kind]
    assert score(metric, examples, found, classes=NAMES) > 0.7
    plain = (
        found.tolist() if isinstance(found, np.ndarray) else [list(one) if kind == "tokens" else one for one in found]
    )
    assert score(metric, examples, as_predicted(plain, kind), classes=NAMES) == score(
        metric, examples, found, classes=NAMES
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_says_is_what_transformers_says_to_each_input_alone(saved: tuple[str, Path], kind: Kind) -> None:
    model, tokenizer, pad = loaded(saved[1], kind)
    inputs = inputs_of(task(kind, 9), tokenizer, **reading_of(saved[1], 256))
    said = said_to(model, inputs, kind, batch=4, pad=pad, arithmetic=FP32)
    alone = []
    for row in range(len(inputs)):
        within = slice(inputs.starts_I[row], inputs.starts_I[row + 1])
        given: dict[str, Any] = {"input_ids": torch.from_numpy(inputs.ids_N[within]).long().unsqueeze(0)}
        if getattr(model.config, "type_vocab_size", 0) > 1:
            given["token_type_ids"] = torch.from_numpy(inputs.types_N[within]).long().unsqueeze(0)
        with torch.no_grad():
            out = model(**given)
        if kind == "spans":
            alone.append(torch.stack([out.start_logits, out.end_logits], -1)[0].numpy())
        else:
            alone.append(out.logits[0].numpy() if kind != "number" else out.logits[0, 0].numpy())
    expected = np.concatenate(alone) if kind in ("tokens", "spans") else np.stack(alone)
    np.testing.assert_allclose(said, expected, atol=2e-5)


def test_fine_tuning_is_a_plain_loop_of_torchs(saved: tuple[str, Path]) -> None:
    """Clipping at 5 and the decay of matrices alone included; dropout is 0."""
    examples = task("classes", 24)
    model, tokenizer, pad = loaded(saved[1], "classes", seed=3)
    plain, _, _ = loaded(saved[1], "classes", seed=3)
    inputs = inputs_of(examples, tokenizer, **reading_of(saved[1], 32))
    setting = Setting(learning_rate=1e-3, epochs=2, batch=5, warmup=0.2, weight_decay=0.1)
    fine_tune(model, inputs, "classes", setting, seed=7, pad=pad, arithmetic=FP32)
    groups = [
        {"params": [p for p in plain.parameters() if (p.dim() > 1) == is_matrix], "weight_decay": decay}
        for is_matrix, decay in ((True, 0.1), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    rates = [1 / 3, 2 / 3, *(left / 8 for left in range(8, 0, -1))]  # ten steps, two of them rising
    batches = [rows for epoch in (0, 1) for rows in order(inputs.lengths_I, batch=5, seed=7, epoch=epoch)]
    plain.train()
    for rate, rows in zip(rates, batches, strict=True):
        batch = batch_of(inputs, rows, kind="classes", pad=pad, device=CPU)
        nn.functional.cross_entropy(outputs_of(plain, batch, "classes"), batch.labels).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        optimizer.step()
        optimizer.zero_grad()
    for (name, mine), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4, msg=name)


def test_a_new_head_is_drawn_by_the_seed_and_the_body_is_the_models(saved: tuple[str, Path]) -> None:
    one, again, other = (dict(loaded(saved[1], "classes", seed=seed)[0].named_parameters()) for seed in (0, 0, 1))
    drawn = {name for name in one if not torch.equal(one[name], other[name])}
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert drawn
    assert all("classifier" in name or "score" in name or "pooler" in name or "head" in name for name in drawn)


def test_order_has_every_input_once_and_another_order_each_epoch() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    first, again, next_epoch = (order(lengths, batch=8, seed=5, epoch=epoch) for epoch in (0, 0, 1))
    assert np.array_equal(np.sort(np.concatenate(first)), np.arange(1000))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(next_epoch))
    padding = sum(lengths[rows].max() * len(rows) - lengths[rows].sum() for rows in first) / lengths.sum()
    unsorted = sum(lengths[i : i + 8].max() * 8 - lengths[i : i + 8].sum() for i in range(0, 1000, 8)) / lengths.sum()
    assert padding < unsorted / 5


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *(f"w{number}" for number in range(12)), "##w2", "##x", *ALL, "here", "where"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )


def test_texts_that_are_too_long_are_cut_and_counted(bert: PreTrainedTokenizerFast) -> None:
    texts = Texts(("w1 w2", "w1 w2 w3 w4 w5 w6", "w3"), ("w4", "w5 w6", "w7"), np.array([0, 1, 0]))
    inputs = inputs_of(texts, bert, longest=7)
    expected = [
        bert(one, two, truncation=True, max_length=7)["input_ids"]
        for one, two in zip(texts.first, texts.second or (), strict=True)
    ]
    assert [inputs.ids_N[inputs.starts_I[i] : inputs.starts_I[i + 1]].tolist() for i in range(3)] == expected
    assert (len(inputs), inputs.cut) == (3, 1)


def test_a_word_is_asked_for_at_its_first_token_alone_and_one_cut_off_gets_the_commonest_class(
    bert: PreTrainedTokenizerFast,
) -> None:
    words = Words((("w1", "w1w2x", "w3"), ("w1", "w2", "w3", "w4", "w5")), ((0, 1, 0), (1, 1, 0, 0, 1)))
    inputs = inputs_of(words, bert, longest=5)
    asked = inputs.labels != IGNORED
    assert inputs.labels[asked].tolist() == [0, 1, 1, 1, 0]  # [CLS] w1 w1 ##w2 [SEP], [CLS] w1 w2 w3 [SEP]
    assert inputs.cut == 2
    said = np.zeros((len(inputs.ids_N), 2), dtype=np.float32)
    said[asked, 1] = 1
    assert answers(said, inputs, words, Scale()) == ((1, 1, 1), (1, 1, 1, 1, 1))


def test_a_causal_model_is_asked_at_a_words_last_token_which_has_seen_the_whole_word(
    bert: PreTrainedTokenizerFast,
) -> None:
    words = Words((("w1", "w1w2x", "w3"),), ((0, 1, 0),))
    first, last = (inputs_of(words, bert, longest=32, causal=causal) for causal in (False, True))
    pieces = [len(bert.tokenize(word)) for word in words.words[0]]
    ends = np.cumsum([1, *pieces])
    assert pieces[1] > 1
    assert np.flatnonzero(first.labels != IGNORED).tolist() == ends[:-1].tolist()
    assert np.flatnonzero(last.labels != IGNORED).tolist() == (ends[1:] - 1).tolist()


def test_a_long_context_comes_in_windows_and_the_best_of_all_is_the_answer(bert: PreTrainedTokenizerFast) -> None:
    context = " ".join(f"w{number % 12}" for number in range(30)) + " w1 w0 w9"
    where = context.rindex("w0")
    asked = Questions(("q",), ("w3",), (context,), ((("w0", where),),))
    inputs = inputs_of(asked, bert, longest=16)
    assert len(inputs) > 2
    holds = [row for row in range(len(inputs)) if inputs.labels[row].any()]
    said = np.zeros((len(inputs.ids_N), 2), dtype=np.float32)
    for row in holds:
        first, last = inputs.labels[row]
        assert inputs.places_N2[inputs.starts_I[row] + first, 0] == where
        said[inputs.starts_I[row] + first, 0] = said[inputs.starts_I[row] + last, 1] = 5
    assert holds
    assert answers(said, inputs, asked, Scale()) == ("w0",)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_teacher_said_is_learned_as_torchs_own_divergence_has_it(
    kind: Kind, bert: PreTrainedTokenizerFast
) -> None:
    inputs = inputs_of(task(kind, 6), bert, longest=64)
    rng, rows = np.random.default_rng(2), np.array([4, 1, 3])
    batch = batch_of(inputs, rows, kind=kind, pad=0, device=CPU)
    choices = {"classes": (len(inputs), 3), "number": (len(inputs),), "tokens": (len(inputs.ids_N), 2)}
    said = rng.normal(size=choices.get(kind, (len(inputs.ids_N), 2))).astype(np.float32)
    shape = (*batch.input_ids_RL.shape, 2) if kind in ("tokens", "spans") else (3, *said.shape[1:])
    outputs = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    found = taught_loss(outputs, batch, kind, inputs, Taught(said=said, temperature=3.0, alpha=1.0))
    pairs = []
    for place, row in enumerate(rows):
        within = slice(inputs.starts_I[row], inputs.starts_I[row + 1])
        length = within.stop - within.start
        if kind == "tokens":
            asked = inputs.labels[within] != IGNORED
            pairs += list(zip(outputs[place, :length][asked], said[within][asked], strict=True))
        elif kind == "spans":
            pairs += [(outputs[place, :length, side], said[within][:, side]) for side in (0, 1)]
        else:
            pairs.append((outputs[place], said[row]))
    if kind == "number":
        expected = np.mean([(float(mine) - theirs) ** 2 for mine, theirs in pairs])
    else:
        expected = np.mean(
            [
                9
                * nn.functional.kl_div(
                    torch.log_softmax(mine / 3, -1), torch.softmax(torch.tensor(theirs) / 3, -1), reduction="sum"
                )
                for mine, theirs in pairs
            ]
        )
    assert found.item() == pytest.approx(float(expected), rel=1e-5)
