"""The dev part that is cut off: how large, of which classes, and what it never shares with train."""

import numpy as np
import pytest

from stages.tasks.data.split import dev_mask
from stages.tasks.examples import Questions, Texts, Words


def classes_of(counts: list[int]) -> Texts:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return Texts(first=tuple(f"text {row}" for row in range(len(labels))), second=None, labels=labels)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5])
def test_cut_of_classes_has_their_proportions_and_leaves_some_of_each(share: float) -> None:
    counts = [400, 101, 20, 3, 2, 2, 1]
    texts = classes_of(counts)
    mask = dev_mask(texts, share, seed=1)
    assert mask.sum() == pytest.approx(share * (sum(counts) - 1), abs=1)
    for number, count in enumerate(counts):
        cut = mask[texts.labels == number].sum()
        assert abs(cut - share * count) <= 1
        assert cut < count


def test_cut_is_the_seeds() -> None:
    texts = classes_of([50, 50])
    first, again, other = (dev_mask(texts, 0.2, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_cut_of_numbers_is_a_share_at_random() -> None:
    numbers = Texts(first=("x",) * 1000, second=None, labels=np.arange(1000.0))
    mask = dev_mask(numbers, 0.3, seed=0)
    assert mask.sum() == 300
    assert numbers.labels[mask].mean() == pytest.approx(499.5, abs=50)  # its standard error is 14


def test_cut_of_questions_never_parts_a_context() -> None:
    contexts = tuple(f"context {number // 7 % 31}" for number in range(1000))
    questions = Questions(tuple(map(str, range(1000))), ("?",) * 1000, contexts, ((("c", 0),),) * 1000)
    mask = dev_mask(questions, 0.2, seed=0)
    dev, train = ({contexts[row] for row in np.flatnonzero(part)} for part in (mask, ~mask))
    assert not dev & train
    assert 0.2 <= mask.mean() < 0.25  # a context has 0.03 of the questions
    alone = Questions(("1",), ("?",), ("c",), ((("c", 0),),))
    assert dev_mask(alone, 0.5, seed=0).tolist() == [False]


def test_no_label_of_words_is_in_dev_alone() -> None:
    labels = tuple((0, row) if row % 10 == 0 else (0, 1) for row in range(200))
    words = Words(words=(("a", "b"),) * 200, labels=labels)
    for seed in range(5):
        mask = dev_mask(words, 0.3, seed)
        dev, train = ({tag for row in np.flatnonzero(part) for tag in labels[row]} for part in (mask, ~mask))
        assert dev <= train
        assert mask.sum() > 30
