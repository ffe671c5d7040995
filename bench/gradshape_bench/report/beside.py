"""The pages that every run writes beside its results file: what they are about, their names, and how they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradshape_bench.records.record import Record
from gradshape_bench.report import html, leaderboard, ledger, tradeoff

# The results file whose pages need not say whose they are.
_USUAL = "results"


@dataclass(frozen=True)
class Page:
    """A page beside a results file.

    Attributes:
        about: what it is about, in words.
        name: name of its file beside ``results.jsonl``.
        write: writes it to a path, and returns a remark for each record that it leaves out.
        concerns: whether it shows a record.
    """

    about: str
    name: str
    write: Callable[[Sequence[Record], Path], list[str]]
    concerns: Callable[[Record], bool]


LEADERBOARD = Page("leaderboard", "leaderboard.md", leaderboard.write, lambda record: True)
BROWSED = Page("leaderboard to browse", html.PAGE, html.write, lambda record: True)
PRIVACY = Page("utility against privacy", "privacy.md", tradeoff.write, tradeoff.concerns)
LEDGER = Page("reproduction ledger", "reproduction.md", ledger.write, ledger.concerns)
PAGES = (LEADERBOARD, BROWSED, PRIVACY, LEDGER)


def name_beside(results: Path, name: str) -> str:
    """Return the name of a file about a results file, so that two results files in a folder have files of their own.

    >>> name_beside(Path("results.jsonl"), "leaderboard.md"), name_beside(Path("gpu.jsonl"), "leaderboard.md")
    ('leaderboard.md', 'gpu-leaderboard.md')
    """
    return name if results.stem == _USUAL else f"{results.stem}-{name}"


def path_beside(results: Path, page: Page) -> Path:
    """Return where a page of a results file is."""
    return results.with_name(name_beside(results, page.name))


def pages_beside(results: Path) -> dict[str, Path]:
    """Return where the pages beside a results file are, by what they are about."""
    return {page.about: path_beside(results, page) for page in PAGES}


def board_folder(results: Path) -> Path:
    """Return the folder of the leaderboard's pages but the overview, beside a results file."""
    return path_beside(results, LEADERBOARD).with_suffix("")


def write_page(made: Page, records: Sequence[Record], results: Path, *, output: Path | None = None) -> list[str]:
    """Write a page, beside the results file unless ``output`` says where.

    Returns:
        One line for each record that the page leaves out, because it cannot be shown.

    Raises:
        OSError: it cannot be written.
        ValueError: it cannot be rendered whatever is left out.
    """
    return made.write(records, output or path_beside(results, made))


def write_pages(records: Sequence[Record], results: Path) -> tuple[list[Path], list[str]]:
    """Write the leaderboards, and the other pages that show some of the records or are there already.

    Returns:
        The paths of the pages, and one line for each record that a page leaves out.

    Raises:
        OSError: a page cannot be written.
        ValueError: one cannot be rendered whatever is left out.
    """
    paths: list[Path] = []
    remarks: list[str] = []
    for made in PAGES:
        path = path_beside(results, made)
        if made in (LEADERBOARD, BROWSED) or path.exists() or any(map(made.concerns, records)):
            remarks += write_page(made, records, results)
            paths.append(path)
    return paths, remarks
