"""SQuAD's questions: out of the JSON of its releases, or out of rows as the hub has them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stages.corpus.formats.damage import UNREAD, first_line, unread
from stages.corpus.formats.text import stretches
from stages.errors import InputError
from stages.tasks.data.reading.cells import NAMED
from stages.tasks.data.reading.suffix import suffix_of
from stages.tasks.examples import Questions

Asked = tuple[str, str, str, tuple[tuple[str, int], ...]]
"""(id, question, context, answers)."""


def questions(path: str) -> Questions:
    """Those of a file: {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}.

    Raises `InputError` for another layout, a question without an answer (SQuAD 2.0 has some), and an answer that does
    not stand in its context where it is said to.
    """
    try:
        whole = json.loads("".join(stretches(path, suffix_of(path)[1])))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {first_line(error)}; mend it, or name another file.") from None
    except UNREAD as error:
        raise unread(path, error) from error
    try:
        return checked(_asked(whole), path)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} has not SQuAD's layout (data, paragraphs, context, qas, id, question, answers, text, "
            f"answer_start): {type(error).__name__} {first_line(error)}; convert it."
        ) from None


def checked(asked: Iterable[Asked], where: str) -> Questions:
    """The questions, each with an answer that its context has; raises `InputError` as `questions` does."""
    rows = list(asked)
    if not rows:
        raise InputError(f"{where} has no questions; name another file.")
    ids, texts, contexts, answers = zip(*rows, strict=True)
    _refuse(where, [one for one, answer in zip(ids, answers, strict=True) if not answer], "without an answer", "")
    elsewhere = [
        one
        for one, _, context, given in rows
        if any(not text.strip() or context[start : start + len(text)] != text for text, start in given)
    ]
    _refuse(where, elsewhere, "with an answer that does not stand in the context at its answer_start", "mend or ")
    _refuse(where, [one for one, text, _, _ in rows if not text.strip()], "without a text", "mend or ")
    if len(set(ids)) != len(ids):
        raise InputError(f"{where} has {len(ids) - len(set(ids)):,} ids of questions twice; make them different.")
    return Questions(ids=ids, questions=texts, contexts=contexts, answers=answers)


def _asked(whole: Any) -> Iterator[Asked]:
    for article in whole["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                given = tuple((answer["text"], answer["answer_start"]) for answer in one["answers"])
                yield str(one["id"]), one["question"], paragraph["context"], given


def _refuse(where: str, ids: list[str], what: str, how: str) -> None:
    if ids:
        more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
        raise InputError(f"{where} has questions {what}: {', '.join(ids[:NAMED])}{more}; {how}remove them.")
