"""Reading pages as tests need them: tables by their caption, and links."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote

from gradshape_bench.records.record import Record
from gradshape_bench.report.leaderboard import render

RAD = "### What the poison did (`rad` ↓)"
TOTAL = "### Attack and defence together (`rad_vs_vanilla` ↓)"


def task_page(records: list[Record]) -> str:
    """The page of the first task of a board with a single one, or with several of which the first counts."""
    return next(
        text
        for name, text in render(records).items()
        if "/" in name and name.count("-") >= 2 and "# " in text and "ranking" not in name
    )


def tables(page: str, caption: str) -> list[dict[str, dict[str, str]]]:
    """The tables below a heading or a line: by row and column, the text of each cell."""
    found = []
    for part in page.split(f"\n{caption}")[1:]:
        for block in re.split(r"\n#+ ", part)[0].split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            if not lines:
                continue
            rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
            header, _, *body = rows
            assert {len(row) for row in rows} == {len(header)}
            found.append({row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in body})
    return found


def merged(found: list[dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Several tables with the same rows as one."""
    rows: dict[str, dict[str, str]] = {}
    for table in found:
        for name, row in table.items():
            rows.setdefault(name, {}).update(row)
    return rows


def broken_links(pages: Mapping[str, str], *, beside: set[str]) -> list[str]:
    """The links of pages that lead to no page, nor to a file that is known to be beside them."""
    found = []
    for name, text in pages.items():
        prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"\\.", "", text))
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            path = PurePosixPath(name).parent / unquote(link)
            parts: list[str] = []
            for part in path.parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            target = "/".join(parts)
            if target not in pages and target not in beside:
                found.append(f"{name}: {link}")
    return found
