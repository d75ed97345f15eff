"""A dev part cut off train, the same for the same seed, where a task has none of its own."""

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Examples, Questions, Texts, Words

Mask = NDArray[np.bool_]


def dev_mask(examples: Examples, share: float, seed: int) -> Mask:
    """(examples,): which are dev. About `share` of them, 0.5 at most: as many of each class as train has, and never all
    of one; whole contexts of questions; for words and numbers at random, no label being in dev alone.
    """
    rng = np.random.default_rng(seed)
    if isinstance(examples, Questions):
        return _whole_contexts(examples.contexts, share, rng)
    if isinstance(examples, Texts):
        classes = examples.labels if examples.labels.dtype.kind == "i" else np.zeros(len(examples), np.int64)
        return _evenly(classes.astype(np.int64), share, rng)
    return _with_labels_of_train(examples, _evenly(np.zeros(len(examples), np.int64), share, rng))


def what_is_kept(examples: Examples) -> str:
    """What the cut respects, for a sentence."""
    if isinstance(examples, Questions):
        return "by whole contexts"
    return "by class" if isinstance(examples, Texts) and examples.labels.dtype.kind == "i" else "at random"


def _evenly(classes: NDArray[np.int64], share: float, rng: np.random.Generator) -> Mask:
    """Every 1/share-th of the shuffled rows, laid class behind class; the only one of its class stays in train.

    Two of a kind that are neighbours are never both taken, since 1/share is 2 or more.
    """
    mask = np.zeros(len(classes), bool)
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    order = order[np.bincount(classes)[classes[order]] > 1]
    marks = np.floor(np.arange(len(order) + 1) * share + rng.random())
    mask[order[np.diff(marks) > 0]] = True
    return mask


def _with_labels_of_train(words: Words, mask: Mask) -> Mask:
    """The same without sentences that have a label which train would not have."""
    kept, known = mask.copy(), {tag for place in np.flatnonzero(~mask) for tag in words.labels[place]}
    for place in np.flatnonzero(mask):
        if not known.issuperset(words.labels[place]):
            known.update(words.labels[place])
            kept[place] = False
    return kept


def _whole_contexts(contexts: tuple[str, ...], share: float, rng: np.random.Generator) -> Mask:
    """Contexts at random until their questions are as many as wanted; no context is in both parts."""
    number = {context: place for place, context in enumerate(dict.fromkeys(contexts))}
    groups = np.array([number[context] for context in contexts], np.int64)
    order = rng.permutation(len(number))
    before = np.bincount(groups)[order].cumsum() - np.bincount(groups)[order]
    taken = order[:-1][before[:-1] < share * len(contexts)]  # one context at least stays in train
    return np.isin(groups, taken)
