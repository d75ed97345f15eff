"""What counts as prose."""

import pytest

from stages.corpus.sources.prose import blocks, is_prose, paragraphs, plain

NUMPYDOC = """Return the weighted mean of an array.

    The weights are normalised first, so that only
    their ratios matter.

    Parameters
    ----------
    values : array_like, shape (n,)
        The values whose mean is taken; they must not be empty.
    weights : array_like, optional
        Short.

    Examples
    --------
    >>> weighted_mean([1, 2], [1, 1])
    1.5
"""
GOOGLE = """Opens the file, and raises an error if it is not there.

    Args:
        path (str or `Path`): Where the file lies on the disk; a
            relative path counts from the working directory.
        mode: how it is opened, as for the built-in function of Python.

    Note: The `handle` must be closed by the one who opened it.
"""
MARKDOWN = """# A heading of the file that says what it is about

See [the guide](https://example.org/guide) for **all** of the options that there are.

| a | table |
|---|---|

- An item of a list that is long enough
  to go on in a second line.
- Another one, which is also a sentence of its own.

```python
print("This is code and not a sentence at all, is it not.")
```
"""


def test_paragraphs_numpydoc_keeps_sentences_and_drops_signatures_and_doctests() -> None:
    assert paragraphs(NUMPYDOC) == [
        "The weights are normalised first, so that only their ratios matter.",
        "The values whose mean is taken; they must not be empty.",
    ]


def test_paragraphs_google_style_joins_an_arguments_lines_without_its_name() -> None:
    assert paragraphs(GOOGLE) == [
        "Opens the file, and raises an error if it is not there.",
        "Where the file lies on the disk; a relative path counts from the working directory.",
        "How it is opened, as for the built-in function of Python.",
        "The handle must be closed by the one who opened it.",
    ]


def test_paragraphs_markdown_drops_code_and_tables_and_unwraps_links() -> None:
    assert paragraphs(MARKDOWN) == [
        "See the guide for all of the options that there are.",
        "An item of a list that is long enough to go on in a second line.",
        "Another one, which is also a sentence of its own.",
    ]


@pytest.mark.parametrize(
    ("marked", "bare"),
    [
        ("Use :func:`~torch.nn.Linear` and ``x`` or `y` here.", "Use torch.nn.Linear and x or y here."),
        ("As shown by Hinton [1]_, it is so::", "As shown by Hinton, it is so:"),
        (":param name: the name of the thing", "The name of the thing"),
        ("2) A *very* **bold** claim", "A very bold claim"),
        ("a * b * c stays", "a * b * c stays"),
    ],
)
def test_plain_takes_markup_away(marked: str, bare: str) -> None:
    assert plain(marked) == bare


@pytest.mark.parametrize(
    "text",
    [
        "Too short to keep.",
        "model = train(data, epochs=3, batch=32, lr=0.1, warmup=100, seed=7)",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda",
        "Gibt die Summe aller Werte zurück, die in der Liste vorhanden sind.",
        "See https://example.org for all that there is to know about it.",
        "| name | value | of the table that is not a sentence |",
        "Callable, optional, default None, int, float, str, tuple of ints",
    ],
)
def test_is_prose_refuses(text: str) -> None:
    assert not is_prose(text)


def test_blocks_unbalanced_indentation_loses_no_line_but_headings() -> None:
    text = "one\n  two\n    three\n one\n\n\n- four\n  five\nsix"
    assert " ".join(blocks(text)).replace("- ", "").split() == "one two three one four five six".split()
