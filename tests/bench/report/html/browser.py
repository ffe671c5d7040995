"""A page in headless Chromium, and what tests do with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from gradshape_bench.gate.since import since
from gradshape_bench.records.record import Record
from gradshape_bench.report.html import write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; skip the test if it or its driver is missing, or fail if ``GRADSHAPE_BROWSER=required``."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _missing("the driver playwright is not installed")
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        _missing(f"there is no Chromium: looked for {', '.join(_NAMES)}")
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except Error as error:
            _missing(f"{executable} does not start: {error}")
        try:
            yield browser
        finally:
            browser.close()


def _missing(what: str) -> NoReturn:
    if os.environ.get("GRADSHAPE_BROWSER") == "required":
        pytest.fail(f"GRADSHAPE_BROWSER=required, but {what}")
    pytest.skip(what)


class Pages:
    """Opens pages and collects whatever their consoles complain of.

    Args:
        context: the window that they open in.
        folder: where the files are written.
    """

    def __init__(self, context: BrowserContext, folder: Path) -> None:
        self.complaints: list[str] = []
        self._context = context
        self._folder = folder

    def open(self, records: Sequence[Record], *, against: Sequence[Record] | None = None, at: str = "") -> Page:
        """Write the page of these records and open it."""
        file = self._folder / "leaderboard.html"
        write(records, file, against=None if against is None else since(against, records))
        page = self._context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{file.as_uri()}{at}")
        return page


def count_shown(page: Page) -> int:
    """Return how many cases the page says that it shows."""
    return int(page.inner_text("#shown-count").split()[0].replace(",", ""))


def focused(page: Page) -> str:
    """Return the text of what has the focus."""
    return str(page.evaluate("document.activeElement.innerText")).strip()


def task(page: Page, name: str = "digits") -> Locator:
    """Return the part of the matrix that is about one data set."""
    return page.locator(".task", has=page.locator("h2", has_text=name))


def column(page: Page, place: int) -> list[str]:
    """Return the values in a column of the table of the digits, from its top; column 0 has the labels."""
    cells = task(page).locator(f"tbody tr > :nth-child({place + 1})")
    # A table is drawn once it comes into sight.
    cells.first.wait_for()
    return [text.split("\n")[0] for text in cells.all_inner_texts()]
