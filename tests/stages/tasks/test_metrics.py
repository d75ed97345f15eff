"""Scores are scikit-learn's, scipy's, seqeval's and the SQuAD paper's, on all rows and on resampled ones."""

import re
import string
import warnings
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, r2_score

from stages.tasks.examples import Questions, Texts, Words
from stages.tasks.metrics import score

N = 300
REFERENCES = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "macro_f1": lambda right, said: f1_score(right, said, average="macro"),
    "mcc": matthews_corrcoef,
    "r2": r2_score,
    "pearson": lambda right, said: pearsonr(right, said).statistic,
    "spearman": lambda right, said: spearmanr(right, said).statistic,
}
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def texts(labels: NDArray) -> Texts:
    return Texts(first=("a text",) * len(labels), second=None, labels=labels)


def draw(rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
    return rng.integers(0, rows, rows)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "macro_f1", "mcc"])
@pytest.mark.parametrize("classes", [2, 5])
def test_metric_of_classes_is_scikit_learns(metric: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    right = rng.integers(0, classes, N)
    said = np.where(rng.random(N) < 0.7, right, rng.integers(0, classes, N))
    names = tuple(map(str, range(classes)))
    for rows in (None, draw(rng, N), draw(rng, N)):
        picked = (right, said) if rows is None else (right[rows], said[rows])
        expected = f1_score(*picked, labels=[1], average="micro") if metric == "f1" else REFERENCES[metric](*picked)
        named = f"{metric}:1" if (metric, classes) == ("f1", 5) else metric
        assert score(named, texts(right), said, rows, classes=names) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "r2"])
def test_metric_of_numbers_is_scipys_and_scikit_learns(metric: str) -> None:
    rng = np.random.default_rng(3)
    right = rng.integers(0, 20, N) / 4  # with ties, as STS-B has them
    said = right + rng.normal(size=N)
    for rows in (None, draw(rng, N)):
        picked = (right, said) if rows is None else (right[rows], said[rows])
        assert score(metric, texts(right), said, rows) == pytest.approx(REFERENCES[metric](*picked), abs=1e-12)


@pytest.mark.parametrize("positive", ["1", "equivalent", "duplicate"])
def test_f1_looks_for_the_class_that_glue_looks_for(positive: str) -> None:
    classes = tuple(sorted((positive, {"1": "0"}.get(positive, f"not_{positive}"))))
    right, said = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    expected = f1_score(right, said, pos_label=classes.index(positive))
    assert score("f1", texts(right), said, classes=classes) == pytest.approx(expected)
    other = f1_score(right, said, pos_label=1 - classes.index(positive))
    assert other != pytest.approx(expected)
    assert score(f"f1:{classes[1 - classes.index(positive)]}", texts(right), said, classes=classes) == other


def test_f1_without_a_class_to_look_for_is_a_mistake() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match="no class to look for among ham, spam"):
        score("f1", texts(labels), labels, classes=("ham", "spam"))
    with pytest.raises(ValueError, match="no class to look for among 0, 1, 2"):
        score("f1", texts(labels), labels, classes=("0", "1", "2"))
    assert score("f1:spam", texts(labels), labels, classes=("ham", "spam")) == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "f1", "macro_f1", "mcc"])
def test_resample_of_one_class_is_a_number_without_a_warning(metric: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(metric, texts(np.zeros(5, np.int64)), np.ones(5, np.int64), classes=("0", "1"))
    assert found == 0.0


@pytest.mark.parametrize("metric", ["pearson", "spearman", "r2"])
def test_constant_numbers_are_worth_nothing_without_a_warning(metric: str) -> None:
    rising, flat = np.arange(5.0), np.full(5, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(metric, texts(flat), rising) == 0.0
        assert score(metric, texts(rising), flat) == 0.0
        assert score(metric, texts(rising), rising, np.zeros(5, np.int64)) == 0.0


def sentences(rng: np.random.Generator, count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(rng.integers(0, len(TAGS), length).tolist()) for length in rng.integers(1, 12, count))


def named(tags: tuple[tuple[int, ...], ...], rows: NDArray[np.int64]) -> list[list[str]]:
    return [[TAGS[tag] for tag in tags[row]] for row in rows]


def test_span_f1_is_seqevals() -> None:
    rng = np.random.default_rng(4)
    right = sentences(rng, N)
    said = tuple(
        tuple(tag if rng.random() < 0.8 else int(rng.integers(len(TAGS))) for tag in sentence) for sentence in right
    )
    truth = Words(words=tuple(("word",) * len(sentence) for sentence in right), labels=right)
    for rows in (np.arange(N), draw(rng, N)):
        expected = seqeval_f1(named(right, rows), named(said, rows))
        assert score("span_f1", truth, said, rows, classes=TAGS) == pytest.approx(expected)
    assert score("span_f1", truth, said, classes=TAGS) == score("span_f1", truth, said, np.arange(N), classes=TAGS)
    none = tuple((TAGS.index("O"),) * len(sentence) for sentence in right)
    assert score("span_f1", Words(truth.words, none), none, classes=TAGS) == 0.0


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc", "f1:B-PER"])
def test_words_classes_are_scored_word_by_word(metric: str) -> None:
    rng = np.random.default_rng(5)
    right = sentences(rng, N)
    said = tuple(tuple(tag if rng.random() < 0.8 else 0 for tag in sentence) for sentence in right)
    truth = Words(words=tuple(("word",) * len(sentence) for sentence in right), labels=right)
    for rows in (None, draw(rng, N)):
        taken = range(N) if rows is None else rows
        flat = [np.concatenate([tags[row] for row in taken]) for tags in (right, said)]
        one = [TAGS.index("B-PER")]
        expected = (
            f1_score(*flat, labels=one, average="micro") if ":" in metric else REFERENCES[metric](*flat)  # that class's
        )
        assert score(metric, truth, said, rows, classes=TAGS) == pytest.approx(expected)


def squad_words(text: str) -> list[str]:
    """As the SQuAD paper's evaluation puts it: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def squad(said: str, answers: list[str]) -> tuple[float, float]:
    exact, best = 0.0, 0.0
    for answer in answers:
        one, other = squad_words(said), squad_words(answer)
        shared = sum((Counter(one) & Counter(other)).values())
        exact = max(exact, float(" ".join(one) == " ".join(other)))
        if shared:
            precision, recall = shared / len(one), shared / len(other)
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


def test_squads_metrics_are_those_of_its_rules() -> None:
    answers = [["the Denver Broncos", "Broncos"], ["24–10"], ["U.S."], ["a an the"], ["to be or not to be"]]
    said = ("The  broncos!", "24-10", "us", "the", "be to to")
    context = "context"
    truth = Questions(
        ids=tuple("abcde"),
        questions=("who?",) * 5,
        contexts=(context,) * 5,
        answers=tuple(tuple((text, 0) for text in each) for each in answers),
    )
    expected = np.array([squad(one, each) for one, each in zip(said, answers, strict=True)])
    assert expected[:, 0].tolist() == [1, 0, 1, 1, 0]
    assert 0 < expected[4, 1] < 1
    for rows in (None, np.array([4, 4, 0, 1])):
        means = expected.mean(0) if rows is None else expected[rows].mean(0)
        assert score("em", truth, said, rows) == pytest.approx(means[0])
        assert score("squad_f1", truth, said, rows) == pytest.approx(means[1])


def test_predictions_that_do_not_fit_are_a_mistake_of_the_caller() -> None:
    labels = np.array([0, 1, 1])
    with pytest.raises(ValueError, match="2 predictions for 3 examples"):
        score("accuracy", texts(labels), labels[:2])
    with pytest.raises(ValueError, match="float64 for labels in int64"):
        score("accuracy", texts(labels), labels.astype(float))
    with pytest.raises(ValueError, match="no metric of classes"):
        score("pearson", texts(labels), labels)
    with pytest.raises(ValueError, match="not finite"):
        score("r2", texts(labels.astype(float)), np.array([0.0, np.nan, 1.0]))
    words = Words(words=(("a", "b"),), labels=((0, 1),))
    for metric in ("accuracy", "span_f1"):
        with pytest.raises(ValueError, match="predictions for"):
            score(metric, words, ((0,),), classes=TAGS)


def test_examples_are_taken_by_row_with_repeats() -> None:
    rows = np.array([2, 0, 2])
    taken = Texts(("a", "b", "c"), ("x", "y", "z"), np.array([0, 1, 2])).take(rows)
    assert (taken.first, taken.second, taken.labels.tolist()) == (("c", "a", "c"), ("z", "x", "z"), [2, 0, 2])
    words = Words((("a",), ("b",), ("c", "d")), ((0,), (1,), (2, 3))).take(rows)
    assert (words.words, words.labels) == ((("c", "d"), ("a",), ("c", "d")), ((2, 3), (0,), (2, 3)))
