"""What cleaning drops, by each of its rules, and how it is counted."""

import random
from pathlib import Path

import pytest

from stages.context import StageContext
from stages.corpus.cleaning import SAMPLES, Tally, why_dropped
from stages.corpus.config import CorpusConfig
from stages.corpus.stage import gather
from stages.errors import ConfigError, InputError
from stages.storage import Folder

ALL = ("short", "symbols", "repetition")
RANDOM = random.Random(5)
WORDS = ["".join(RANDOM.choices("abcdefghij", k=RANDOM.randint(3, 8))) for _ in range(3000)]
GOOD = " ".join(WORDS[:120])


@pytest.mark.parametrize(
    ("text", "step"),
    [
        (GOOD, None),
        (" ".join(WORDS[:50]), None),
        (" ".join(WORDS[:49]), "short"),
        (" ".join(["ab"] * 30 + WORDS[:10] + ["c"] * 30), "symbols"),  # short words
        (" ".join(word * 4 for word in WORDS[:60]), "symbols"),  # long ones
        (f"{GOOD} {' '.join('#tag' for _ in range(14))}", "symbols"),
        (" ".join(f"{word}..." for word in WORDS[:60]), "symbols"),
        (f"{GOOD} {' '.join(str(n) for n in range(1000, 1040))}", "symbols"),  # a quarter of them numbers
        (f"{GOOD} Lorem ipsum dolor", "symbols"),
        (f"{GOOD} function() {{ }}", "symbols"),
        (f"{GOOD} {' '.join(['again and'] * 20)}", "repetition"),
        (f"{GOOD} {' '.join(WORDS[20:60])}", "repetition"),  # a passage that is there twice
        (f"{GOOD} {' '.join(WORDS[20:29])}", None),
    ],
)
def test_why_dropped_names_the_rule_that_a_text_breaks(text: str, step: str | None) -> None:
    assert why_dropped(text, ALL) == step
    assert why_dropped(text, ()) is None


def test_tally_counts_all_and_keeps_the_first_ten() -> None:
    one, two = Tally(), Tally()
    for number in range(8):
        one.add("short", f"one {number}")
        two.add("short", f"two {number}")
    two.add("symbols", "#" * 1000)
    for dropped in two.dropped:
        one.join(dropped)
    short, symbols = one.dropped
    assert (short.documents, symbols.documents) == (16, 1)
    assert short.samples == tuple([f"one {n}" for n in range(8)] + ["two 0", "two 1"])
    assert len(short.samples) == SAMPLES
    assert symbols.samples == ("#" * 200,)


def test_gather_cleans_by_choice_counts_and_shows_what_went(ray_session: None, tmp_path: Path) -> None:
    good = [" ".join(RANDOM.choices(WORDS, k=80)) for _ in range(50)]
    bad = [f"much too short, number {number}" for number in range(12)] + [f"{GOOD} {'{'}"]
    (tmp_path / "in.txt").write_text("\n".join([*good, *bad]))
    told: list[str] = []

    def made(folder: str, paths: str = "in.txt", **fields: object):  # type: ignore[no-untyped-def]
        config = CorpusConfig(paths=(f"{tmp_path}/{paths}",), heldout_fraction=0.1, **fields)
        return gather(config, StageContext(folder=Folder(f"{tmp_path}/{folder}"), seed=0, on_notice=told.append))

    plain = made("plain")
    assert (plain.documents + plain.heldout_documents, plain.cleaned, told) == (63, 0, [])
    clean = made("clean", clean=ALL)
    assert (clean.documents + clean.heldout_documents, clean.cleaned) == (50, 13)
    assert told == [f"corpus: cleaning dropped 13 documents; {tmp_path}/clean/dropped.txt shows some of them."]
    shown = (tmp_path / "clean/dropped.txt").read_text().splitlines()
    assert shown[:2] == ["short: 12 documents", f"  {bad[0]}"]
    assert shown[11:13] == ["symbols: 1 documents", f"  {bad[-1][:200]}"]
    (tmp_path / "bad.txt").write_text("\n".join(bad))
    with pytest.raises(InputError, match=r"corpus is empty.*corpus\.clean, which dropped 13 documents"):
        made("bad", "bad.txt", clean=ALL)


@pytest.mark.parametrize("language", ["zh", "zh-TW", "ja"])
def test_config_cleaning_by_words_is_refused_where_they_have_no_spaces(language: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.clean .*no spaces"):
        CorpusConfig(language=language, clean=("short",))
