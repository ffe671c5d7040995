"""The page of a task: for each protocol what was measured of every attack and defence, and what is behind it."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator

from gradshape_bench.plain_text import plain
from gradshape_bench.protocols import meaning
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells, ledger, markdown, target_counts
from gradshape_bench.report.board import matrix, threat_models
from gradshape_bench.report.board.budgets import family, rows_and_share, train_rows
from gradshape_bench.report.board.dose import Dose, doses
from gradshape_bench.report.board.matrix import Columns
from gradshape_bench.report.board.place import LEGEND, Figure, Place
from gradshape_bench.report.board.setup import Setup
from gradshape_bench.report.board.task import BoardTask
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.ordering import label_order

_CERTIFICATE = ("certified_bound", "objective_reached")
# How many lines of a kind are shown: a page is no log.
_LINES = 20
# Characters of a reason.
_LONGEST = 400


def head(task: BoardTask, place: Place) -> list[str]:
    """Return the blocks that begin the page."""
    links = [f"[Overview]({place.up})", f"[how to read it, and what each label means]({LEGEND}.md)"]
    if any(map(ledger.concerns, task.records)):
        links.append(f"[the paper's numbers beside ours](../{place.beside('reproduction.md')})")
    return [
        f"# {markdown.escape(task.name)} ({markdown.escape(task.scale)} scale)",
        " · ".join(links),
        markdown.paragraph(
            "✓ meets its thresholds, ✗ misses one, ✓? or ✗? the interval leaves it open, ✗! the clean model does not "
            "work, † expected to miss, ‡ does no more than random flips, § does not beat its trusted rows alone, "
            "**bold** the best of its row, by attack and defence together where that is measured; ↓ lower is better, "
            "↑ higher is."
        ),
    ]


def sections(task: BoardTask, place: Place) -> Iterator[str]:
    """Yield the blocks of the page, one protocol after the other."""
    figures = place.figures_of(task.scale, task.dataset, task.model)
    for group in task.groups:
        yield from _section(task, group)
        own = [figure for figure in figures if figure.is_of(group.protocol)]
        yield from _figures(own)
        figures = [figure for figure in figures if figure not in own]
    if figures:
        yield "## Several protocols"
        yield from _figures(figures)


def _section(task: BoardTask, group: RecordGroup) -> Iterator[str]:
    setup = Setup([record for record in group.records if record.status is Status.OK])
    columns = matrix.Columns(group)
    yield f"## {markdown.escape(group.protocol)}"
    told = [markdown.escape(meaning(group.protocol) or ""), setup.sentence()]
    yield markdown.paragraph(" ".join(filter(None, told)))
    yield from _named("These cases were not all run alike, so compare them with care:", setup.disagreements())
    yield from matrix.blocks(columns)
    yield from target_counts.blocks(group)
    yield from _doses(columns)
    yield from _certificates(group)
    yield from _filters(columns)
    yield "### Attacks: how much poison, and what they know"
    yield threat_models.attacks(group)
    yield "### Defences: what they are told, and what they cost without poison"
    yield threat_models.defenses(columns)
    yield markdown.paragraph(threat_models.privacy_note(group))
    yield from _named("The clean model does not work, or poison makes it better:", _ruins(group.records))
    yield from _named("Expected failures:", _expected(group.records))
    yield from _named("Not measured:", _unmeasured(group.records))
    yield _lookup(task, group)


def _figures(figures: Iterable[Figure]) -> Iterator[str]:
    yield from _named("Figures:", (f"[{markdown.escape(figure.words)}]({figure.link})" for figure in figures))


def _doses(columns: Columns) -> Iterator[str]:
    """Yield the smallest numbers of poison rows that are beyond the threshold, by family of attacks and defence."""
    group = columns.group
    found = doses(group)
    if not found:
        return
    of = train_rows(group.records)
    families = sorted({name for name, _ in found}, key=label_order)
    run = {(family(record.attack), record.defense) for record in group.records}
    lines = [
        (
            f"{markdown.escape(name)} ({_bounds(dose for (one, _), dose in found.items() if one == name)})",
            {
                defense: _dose(found.get((name, defense)), of) if (name, defense) in run else matrix.NOT_RUN
                for defense in group.defenses
            },
        )
        for name in families
    ]
    yield "### Dose: the fewest poison rows, of those run, whose interval lies beyond the threshold ↑"
    yield from columns.tables(lines, "attack (threshold)")


def _bounds(doses: Iterable[Dose]) -> str:
    return ", ".join(f"{bound:g}" for bound in sorted({bound for dose in doses for bound in dose.bounds}))


def _dose(dose: Dose | None, of: int | None) -> str:
    if dose is None:
        return "no threshold"
    text = f"none up to {rows_and_share(dose.largest, of)}"
    if dose.smallest is not None:
        text = rows_and_share(dose.smallest, of)
    return text + (f", open at {', '.join(f'{rows:,}' for rows in dose.open)}" if dose.open else "")


def _certificates(group: RecordGroup) -> Iterator[str]:
    """Yield a table of what attacks reached beside the bound that is proved for all attacks like them."""
    rows = []
    for attack in group.attacks:
        records = [r for r in group.records if r.attack == attack and r.metrics.keys() >= set(_CERTIFICATE)]
        pairs = dict.fromkeys(tuple(cells.estimate(r.metrics[name], 4) for name in _CERTIFICATE) for r in records)
        rows += [[markdown.escape(attack), *pair] for pair in pairs]
    if rows:
        yield "### Certificates"
        yield "No poison that passes the attack's filter can push the training objective above the bound."
        yield markdown.table(rows, ["attack", *(name.replace("_", " ") for name in _CERTIFICATE)])


def _filters(columns: Columns) -> Iterator[str]:
    """Yield a table of what filters removed."""
    group = columns.group
    filters = {record.defense for record in group.records if "clean_removed" in record.metrics}
    if filters:
        yield "### What the filters removed: of the poison ↑, of the clean rows ↓"
        lines = [
            (
                markdown.escape(attack),
                {
                    defense: "<br>".join(map(_filtered, group.cell(attack, defense))) or matrix.NOT_RUN
                    for defense in filters
                },
            )
            for attack in group.attacks
        ]
        yield from columns.tables(lines, "attack", beside_plain=False)


def _filtered(record: Record) -> str:
    clean, poison = (record.metrics.get(f"{kind}_removed") for kind in ("clean", "poison"))
    if clean is None:
        return cells.state(record)
    parts = [f"{100 * poison.value:.0f} % of poison"] if poison is not None else []
    return ", ".join([*parts, f"{100 * clean.value:.1f} % of clean"])


def _ruins(records: Iterable[Record]) -> Iterator[str]:
    """Yield the reasons why judgements fail although the number is on the right side, each with its defence."""
    reasons: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        for reason in dict.fromkeys(one.reason for one in record.judgements if one.reason is not None):
            reasons[record.defense, reason].append(record)
    for (defense, reason), own in reasons.items():
        yield f"{markdown.escape(defense)}, {cells.count(len(own), 'case')}: {_short(reason)}"


def _expected(records: Iterable[Record]) -> Iterator[str]:
    """Yield the reasons, each with the file that gives it: a source may say no more than that it is this file."""
    reasons: defaultdict[tuple[str | None, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.expected_failure is not None:
            reasons[record.test, record.expected_failure].append(record)
    for (test, reason), own in reasons.items():
        of = "" if test is None else f" of {markdown.code(test)}"
        yield f"{cells.count(len(own), 'case')}{of}: {_short(reason)}"


def _unmeasured(records: Iterable[Record]) -> Iterator[str]:
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status is not Status.OK:
            groups[record.status.value, record.reason or "no reason recorded"].append(record)
    for (status, reason), own in sorted(groups.items()):
        # The table shows which cases they are.
        yield f"{status}, {cells.count(len(own), 'case')}: {_short(reason)}"


def _short(reason: str) -> str:
    return markdown.escape(plain(reason, longest=_LONGEST))


def _named(title: str, lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    if listed:
        more = len(listed) - _LINES
        yield title
        yield markdown.bullets(listed[:_LINES] + ([f"and {more} more"] if more > 0 else []))


def _lookup(task: BoardTask, group: RecordGroup) -> str:
    """Return what to type to see a case, with its id as it is put together."""
    records = group.records
    regular = any(record.case == _case(task, group, record.attack, record.defense) for record in records)
    case = shlex.quote(_case(task, group, "ATTACK", "DEFENCE") if regular else records[0].case)
    return markdown.bullets(
        [
            f"A case's thresholds, seeds, commit and values: {markdown.code(f'gradshape show {case}')}",
            f"The same measured again: {markdown.code(f'gradshape rerun {case}')}",
        ]
    )


def _case(task: BoardTask, group: RecordGroup, attack: str, defense: str) -> str:
    parts = [task.dataset.replace("/", "_"), task.model, attack, defense]
    return "-".join(parts + ([group.protocol] if group.protocol != "from_scratch" else []))
