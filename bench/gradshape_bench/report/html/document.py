"""The page as a whole: what it holds, put into its template."""

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from gradshape_bench.records.record import Record
from gradshape_bench.report import page
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.html import figures, plain_json
from gradshape_bench.report.html.changes import Earlier
from gradshape_bench.report.html.index import Row, index
from gradshape_bench.report.html.tables import pack

# Its name beside a results file.
PAGE = "leaderboard.html"
# Each is about one thing; they share one scope, in this order.
SCRIPTS = (
    "dom",
    "numbers",
    "board",
    "filters",
    "address",
    "markdown",
    "clipboard",
    "theme",
    "cells",
    "grid_keys",
    "matrix",
    "case_list",
    "changes",
    "figures",
    "chart",
    "curves",
    "record_text",
    "case_panel",
    "overview",
    "page",
)
_STYLES = ("colors", "page", "matrix", "panel")
# The reader's shell and ids are not known here: the page quotes what it fills in.
RERUN = "gradshape rerun {case} --scale {scale}"


def write(records: Sequence[Record], path: Path, *, against: Earlier | None = None) -> list[str]:
    """Write the page to ``path``, with the figures of the folder beside it.

    See :func:`render` and :func:`gradshape_bench.report.page.write`.
    """
    return page.write(partial(render, against=against, drawn=figures.beside(path)), records, path)


def render(records: Sequence[Record], *, against: Earlier | None = None, drawn: Collection[str] = ()) -> str:
    """Render the page. The same arguments give the same bytes, in any order.

    Args:
        records: one record for each case.
        against: an earlier run, if the page is to show what changed since.
        drawn: names of the files in the folder ``figures`` beside the page.

    Raises:
        ValueError: two records are of the same case and scale, or a record has a value that JSON has not.
    """
    rows = _rows(records, against)
    groups = [(group, [rows[record.key] for record in group.records]) for group in RecordGroup.of(_shown(rows))]
    matched = figures.matched(drawn, [(g.scale, g.dataset, g.model, g.protocol) for g, _ in groups])
    board = {
        **index(groups),
        "figures": [[figure.name, figure.section, list(figure.endings)] for figure in matched],
        "folder": figures.FOLDER,
        "rerun": RERUN,
        "compared": against is not None,
    }
    tables = [(f"records-{i}", [row.record.document() for row in found]) for i, (_, found) in enumerate(groups)]
    if against is not None:
        # A case without an earlier record has an empty document.
        tables += [
            (f"before-{i}", [row.before.document() if row.before is not None else {} for row in found])
            for i, (_, found) in enumerate(groups)
        ]
    return _filled(
        board=plain_json.inside_page(plain_json.text(board)),
        tables=[(name, plain_json.inside_page(pack(documents))) for name, documents in tables],
    )


def _rows(records: Sequence[Record], against: Earlier | None) -> dict[tuple[str, str], Row]:
    after = _by_key("records", records)
    if against is None:
        return {key: Row(record) for key, record in after.items()}
    before, changes = _by_key("against", against.records), against.changes
    rows = {key: Row(record, before.get(key), changes[key]) for key, record in after.items()}
    return rows | {key: Row(old, None, changes[key]) for key, old in before.items() if key not in after}


def _shown(rows: dict[tuple[str, str], Row]) -> list[Record]:
    return [row.record for row in rows.values()]


def _by_key(argument: str, records: Sequence[Record]) -> dict[tuple[str, str], Record]:
    double = next((key for key, count in Counter(record.key for record in records).items() if count > 1), None)
    if double is not None:
        raise ValueError(f"{argument} has several of case {double[1]!r} at scale {double[0]!r}: expected the latest")
    return {record.key: record for record in records}


def _filled(*, board: str, tables: Sequence[tuple[str, str]]) -> str:
    # A run that makes no page need not wait for it.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    assets = files("gradshape_bench.report.html") / "assets"

    def asset(name: str) -> str:
        return (assets / name).read_text(encoding="utf-8")

    style = "\n" + "\n".join(asset(f"{name}.css") for name in _STYLES)
    script = '\n(() => {\n"use strict";\n\n' + "\n".join(asset(f"{name}.js") for name in SCRIPTS) + "\n})();\n"
    template = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        asset("page.html.j2")
    )
    return template.render(
        style=Markup(style),
        script=Markup(script),
        # Nothing but these two runs, whatever a record says, and nothing is fetched but the figures.
        policy=(
            f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
            "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
        ),
        board=Markup(board),
        tables=[(name, Markup(text)) for name, text in tables],
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
