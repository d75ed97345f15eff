"""The page: it needs nothing beside it, tells what it was given, and is whole in a browser of any width."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, DRIVER, Look, browser, look_at
from labelled import a_task
from pages import a_page, an_example

from pipeline.html_report.contents import Task
from pipeline.html_report.draw import page

WHITE, DARK = "rgb(255, 255, 255)", "rgb(18, 22, 28)"
HOSTILE = "<script>alert('&')</script><img src=x onerror=alert(1)>"


class Read(HTMLParser):
    """A page's tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def whole() -> str:
    return page(a_page())


def test_page_names_no_file_and_no_address_and_runs_nothing(whole: str) -> None:
    read = Read(whole)
    links = [value for _, attributes in read.tags for name, value in attributes.items() if name in ("src", "href")]
    assert [link for link in links if not str(link).startswith("data:")] == []
    assert not {tag for tag, _ in read.tags} & {"script", "iframe", "object", "base"}
    assert "url(" not in whole.replace("url(#", "")
    assert "@import" not in read.text


def test_page_tells_what_was_kept_of_the_teacher_and_of_each_task(whole: str) -> None:
    text = " ".join(re.sub("<[^>]*>", " ", whole).split())
    for shown in ("97.6%", "0.450", "90.0%", "70.0%", "2.00 ×", "better than its own step 0"):
        assert shown in text
    assert "sst2 accuracy · 872 examples · 3 seeds 0.924 0.821 0.901 97.5% 95.8% to 99.0%" in text
    assert "entities F1 of spans · 52 examples · 1 seed 0.924 0.901 97.5% 80.0% to 108.0%" in text
    assert "temperature 2.0" in text


def test_page_shows_texts_as_text() -> None:
    contents = a_page(name=HOSTILE, examples=[an_example(HOSTILE)], corpus=[("source", HOSTILE)], losses=[])
    read = Read(page(contents))
    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert read.text.count(HOSTILE) >= 5


def test_page_without_tasks_examples_or_curves_leaves_their_parts_out(whole: str) -> None:
    bare = page(a_page(tasks=[], others=[], examples=[], losses=[], heldout=[], progress=[]))
    titles = ("labelled tasks", "left out", "while the student learned", "its terms", "training went")
    assert [title for title in titles if title in bare] == []
    assert all(title in whole for title in titles)
    assert "What comes next" in page(a_page(causal=True, losses=[], heldout=[], progress=[]))


def test_the_same_contents_give_the_same_bytes(whole: str) -> None:
    assert page(a_page()) == whole


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no Chromium, or no chromedriver")
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as full as they get: five models in a table, names that nothing breaks, a text without a space."""
    others = dict.fromkeys(("student at step 0", "without a teacher", "without a teacher, same seconds"), 0.8)
    tasks = [Task(result=a_task(name, others=others)) for name in ("sst2", "questions_of_our_customers_2025.csv")]
    path = "/data/" + "a_long_folder_" * 20
    contents = a_page(tasks=tasks, others=list(others), corpus=[("source", path)], verdict=path)
    long = replace(an_example(), before="Ein" + "sehr" * 40 + " ", word="Donaudampfschifffahrtsgesellschaft")
    written = tmp_path_factory.mktemp("page") / "report.html"
    written.write_text(page(replace(contents, examples=[*contents.examples, long])), encoding="utf-8")
    return written


@pytest.mark.parametrize(
    ("width", "look", "background"),
    [(390, "light", WHITE), (390, "dark", DARK), (1440, "light", WHITE), (1440, "dark", DARK), (688, "print", WHITE)],
)
def test_page_is_whole_in_a_browser_which_asks_nobody(
    chromium: Any, file: Path, width: int, look: Look, background: str
) -> None:
    """688 pixels are what a sheet of A4 has between its margins."""
    seen = look_at(chromium, file, width=width, look=look)
    assert (seen.width, seen.cut_off) == (width, [])
    assert (seen.console, seen.requests) == ([], [])
    assert seen.background == background
    assert seen.picture.startswith(b"\x89PNG")
    assert (look == "print") == seen.pdf.startswith(b"%PDF")


def test_settings_are_folded_on_a_screen_and_not_on_paper(chromium: Any, file: Path) -> None:
    shown = "return document.querySelector('details dl').checkVisibility({contentVisibilityAuto: true})"
    for look, expected in (("light", False), ("print", True)):
        look_at(chromium, file, width=688, look=look)  # type: ignore[arg-type]
        assert chromium.execute_script(shown) is expected
