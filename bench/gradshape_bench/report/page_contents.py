"""The contents of a published page, read back from its Markdown as pairs of a section and a name."""

import re
from collections.abc import Iterator

from gradshape_bench.case import Scale


def settings_on(page: str) -> set[tuple[str, str]]:
    """Return section and setting of every measurement on the page about privacy."""
    return {
        (section, f"C {row[0]}, {column}")
        for section, headers, row in _rows(page)
        for column, cell in zip(headers[1:], row[1:], strict=True)
        if cell != "-"
    }


def numbers_on(page: str) -> set[tuple[str, str]]:
    """Return section and setting of every number in the ledger that was measured at paper scale."""
    return {
        (section, f"{row[0]}, {row[1]} {row[2]}")
        for section, headers, row in _rows(page)
        if dict(zip(headers, row, strict=True)).get("scale") == Scale.PAPER.value
    }


def _lines(page: str, heading: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in page.splitlines():
        if line.startswith(heading):
            section = line.removeprefix(heading).replace("\\", "")
        yield section, line


def _rows(page: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield section, headers and cells of every row of every table."""
    headers: list[str] = []
    for section, line in _lines(page, "## "):
        if not line.startswith("|"):
            headers = []
            continue
        row = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not headers:
            headers = row
        elif set(row[0]) != {"-"}:
            yield section, headers, row
