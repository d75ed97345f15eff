"""From a docstring or a Markdown text to its prose: English in whole sentences, without code, tables and markup.

The rules are simple ones, chosen by reading what they keep and what they refuse; they may drop good text, and do: there
is enough of it. Nothing is rewritten but markup, which goes.
"""

import re
from collections.abc import Iterator

from stages.corpus.documents import normalise

SHORTEST, LONGEST = 40, 4000
"""Characters of a paragraph that is kept."""
_COMMON = (
    "a an and are as at be been but by can does for from has have if in into is it its may must no not of on one only "
    "or other should so such than that the their then there these they this to used was we when where which will with "
    "you your"
)
COMMON_WORDS = frozenset(_COMMON.split())
"""Every English sentence has some of them; lists of names, signatures and tables have few."""
_ITEM = re.compile(r"(?:[-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+(?=\S)")
_FIELD = re.compile(r":(?:param|parameter|arg|argument|key|keyword|return|returns|raises|raise|var|ivar)\b[^:]*:\s*")
_ARGUMENT = re.compile(r"\*{0,2}[A-Za-z_][\w.]*(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\))?:\s+(?=[A-Za-z])")
_MARKUP = (
    (re.compile(r":[a-z:+-]+:`~?(?:[^`<]*<)?([^`<>]+)>?`"), r"\1"),  # :func:`~a.b`
    (re.compile(r"!?\[([^\]]+)\]\([^)\s]*\)"), r"\1"),  # [text](address)
    (re.compile(r"`([^`<]+)<[^`>]+>`_{1,2}"), r"\1"),  # `text <address>`_
    (re.compile(r"\s*\[[\w#]+\]_"), ""),  # [1]_
    (re.compile(r"<[^<> ]+>"), " "),  # <b>
    (re.compile(r"`+([^`]*)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<![\w*])(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"::(?=\s|$)"), ":"),
)
_MARKED = re.compile(r"[`*\[<]|::")
_UNDERLINE = re.compile(r"([-=~^\"'*#+_])\1{2,}")
_REFUSED = re.compile(r">>>|https?://|[{}|\\<>$@^~]|\.\. |--|__|&\w+;|\bnoqa\b|\bcopyright\b", re.IGNORECASE)
_CODE = re.compile(r"=|\w\(|\w\[|_|/")
_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of prose in a text, plain, in order."""
    long_enough = (block for block in blocks(text) if len(block) >= SHORTEST)  # markup only ever shrinks
    return [paragraph for paragraph in map(plain, long_enough) if is_prose(paragraph)]


def blocks(text: str) -> Iterator[str]:
    """The paragraphs of a docstring or a Markdown text, each in one line, whatever they hold.

    A paragraph ends at an empty line, at a list item, and where indentation changes; a list item's or an argument's
    own continuation lines, which are indented deeper than its first, belong to it.
    """
    lines: list[str] = []
    indent, hanging, fenced = 0, False, False
    for line in text.expandtabs().splitlines():
        bare = line.strip()
        depth = len(line) - len(line.lstrip())
        fence = bare.startswith(("```", "~~~"))
        if _UNDERLINE.fullmatch(bare):  # what stands above it is a heading
            lines = []
            continue
        starts = bool(_ITEM.match(bare) or _FIELD.match(bare) or _ARGUMENT.match(bare))
        if lines and (not bare or fence or starts or depth < indent or (depth > indent and not hanging)):
            yield " ".join(lines)
            lines = []
        fenced ^= fence
        if not bare or fence or fenced:
            continue
        if not lines:
            indent, hanging = depth, starts
        elif hanging and len(lines) == 1 and depth > indent:
            indent, hanging = depth, False
        lines.append(bare)
    if lines:
        yield " ".join(lines)


def plain(block: str) -> str:
    """A paragraph without its list sign, its argument's name, and inline markup; normalised."""
    for lead in (_ITEM, _FIELD, _ARGUMENT):
        if found := lead.match(block):
            block = block[found.end() :]
            block = block[:1].upper() + block[1:]
    if _MARKED.search(block):
        for pattern, replacement in _MARKUP:
            block = pattern.sub(replacement, block)
    return normalise(block)


def is_prose(text: str) -> bool:
    """Whether a plain paragraph is English in sentences: how it begins and ends, which characters and words it has."""
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii():
        return False
    if not (text[0].isupper() or text[0] in "\"'(") or _REFUSED.search(text):
        return False
    if len(_CODE.findall(text)) > 1 + len(text) // 100:
        return False
    tokens = text.split()
    words = [token for token in tokens if _WORD.fullmatch(token.strip(".,;:!?()\"'"))]
    common = sum(word.lower() in COMMON_WORDS for word in tokens)
    whole = text.rstrip("\"')")[-1:] in (".", "!", "?", ":")  # a heading or a fragment has no full stop
    return len(words) >= max(5, 0.75 * len(tokens)) and common >= (0.1 if whole else 0.2) * len(tokens)
