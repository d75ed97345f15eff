"""Pages as a real browser shows them: Chromium without a window, by its driver."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
Look = Literal["light", "dark", "print"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What there was to see of a page."""

    width: int
    """Pixels that the content needs, in a window of the width that was asked for."""
    background: str
    cut_off: list[str]
    """Texts that reach beyond the window or beyond their own place, unless that can be scrolled."""
    console: list[str]
    requests: list[str]
    """Addresses that were asked for, the page's own not among them."""
    picture: bytes
    """The whole page as PNG."""
    pdf: bytes
    """The same as it is printed."""


_CUT_OFF = """
const wide = document.documentElement.clientWidth;
const scrolls = e => e && (getComputedStyle(e).overflowX === 'auto' || scrolls(e.parentElement));
const outside = e => { const b = e.getBoundingClientRect(); return b.width && (b.right > wide + 1 || b.left < -1); };
return [...document.querySelectorAll('main *')].filter(e => outside(e) && !scrolls(e))
  .map(e => e.tagName + ': ' + e.textContent.trim().slice(0, 60));
"""


@contextmanager
def browser(profile: Path) -> Iterator["webdriver.Chrome"]:  # noqa: F821
    """A Chromium of its own, which asks nobody anything of itself."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        driver.get("about:blank")  # and not the page of its own that it begins with
        driver.get_log("performance")
        yield driver
    finally:
        driver.quit()


def look_at(driver: "webdriver.Chrome", page: Path, *, width: int, look: Look) -> Seen:  # noqa: F821
    """A page in a window of so many pixels, 844 high."""
    tell = driver.execute_cdp_cmd
    scheme = {"name": "prefers-color-scheme", "value": "dark" if look == "dark" else "light"}
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    tell("Emulation.setDeviceMetricsOverride", size)
    tell("Emulation.setEmulatedMedia", {"media": "print" if look == "print" else "screen", "features": [scheme]})
    driver.get(page.as_uri())
    picture = tell("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    pdf = tell("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}) if look == "print" else None
    return Seen(
        width=driver.execute_script("return document.documentElement.scrollWidth"),
        background=driver.execute_script("return getComputedStyle(document.body).backgroundColor"),
        cut_off=driver.execute_script(_CUT_OFF),
        console=[entry["message"] for entry in driver.get_log("browser")],
        requests=[url for url in asked if url != page.as_uri() and not url.startswith("data:")],
        picture=base64.b64decode(picture["data"]),
        pdf=base64.b64decode(pdf["data"]) if pdf else b"",
    )
