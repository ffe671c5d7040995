"""The matrix of attacks and defences of one protocol, split by kind of defence so that no table is too wide to read."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, headline, markdown, target_counts
from gradshape_bench.report.board.budgets import rows_and_share, train_rows
from gradshape_bench.report.board.worst import attacks_by_budget, worst
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.metric_definitions import arrow
from gradshape_bench.report.ordering import beaten_by_trusted_rows, is_clean

# Beside plain training, with which every table begins.
_COLUMNS = 3
# Defences share a table if at least this share of the attacks that any of two was run against was run against both.
_ALIKE = 0.6
# Rows of a table, so that no page is too long either.
_ROWS = 60
_PLAIN, _CONTROL = "none", "control"
NOT_RUN = "not run"
# Metrics that tables of their own show: of filters, of targets, of certificates and of trusted rows.
_ELSEWHERE = frozenset(
    {
        "poison_removed",
        "clean_removed",
        "success_rate_raw",
        "success_rate_control",
        "success_rate_control_raw",
        "poisons_needed",
        "certified_bound",
        "objective_reached",
        "rad_trusted",
    }
)

# A name, and for each defence what its cell says.
Line = tuple[str, Mapping[str, str]]


class Columns:
    """The defences of a group as columns of tables, a kind of defence at a time.

    Args:
        group: the records.

    Attributes:
        kinds: the defences by their kind, plain training first and controls last.
    """

    def __init__(self, group: RecordGroup) -> None:
        self.group = group
        kinds: defaultdict[str, list[str]] = defaultdict(list)
        for defense in group.defenses:
            kinds[self._kind(defense)].append(defense)
        self.kinds = {
            kind: kinds[kind] for kind in sorted(kinds, key=lambda kind: (kind != _PLAIN, kind == _CONTROL, kind))
        }
        self._tables = {kind: list(self._split(own)) for kind, own in self.kinds.items()}

    def _split(self, defenses: Sequence[str]) -> Iterator[list[str]]:
        """Yield the defences of each table: few, and run against much the same attacks, so that it has few holes."""
        attacks: defaultdict[str, set[str]] = defaultdict(set)
        for record in self.group.records:
            attacks[record.defense].add(record.attack)
        tables: list[list[str]] = []
        for defense in sorted(defenses, key=lambda defense: -len(attacks[defense])):
            own = attacks[defense]
            for table in tables:
                others = attacks[table[0]]
                if len(table) < _COLUMNS and len(own & others) >= _ALIKE * len(own | others):
                    table.append(defense)
                    break
            else:
                tables.append([defense])
        for table in tables:
            yield sorted(table, key=defenses.index)

    def _kind(self, defense: str) -> str:
        for attack in self.group.attacks:
            for record in self.group.cell(attack, defense):
                if isinstance(kind := record.details.get("defense_kind"), str):
                    return kind
        return _PLAIN if defense == "vanilla" else "other"

    def tables(self, lines: Sequence[Line], first: str, *, beside_plain: bool = True) -> Iterator[str]:
        """Yield tables with a column for each defence, a kind at a time.

        Args:
            lines: in their order; one that has nothing to say of the defences of a table is left out of it.
            first: header of the column of names.
            beside_plain: whether every table begins with plain training, to compare with.
        """
        kinds = dict(self._tables)
        plain = self.kinds.get(_PLAIN, [])
        kinds = {kind: tables for kind, tables in kinds.items() if kind != _PLAIN} or kinds
        for kind, tables in kinds.items():
            titled = len(kinds) == 1
            for own in tables:
                columns = own if kind == _PLAIN or not beside_plain else [*plain, *own]
                rows = [
                    [name, *(texts.get(column, "") for column in columns)]
                    for name, texts in lines
                    if any(texts.get(column) not in (None, "", NOT_RUN) for column in own)
                ]
                if rows and not titled:
                    titled = True
                    yield f"*{markdown.escape(kind)}*:"
                for top in range(0, len(rows), _ROWS):
                    yield markdown.table(rows[top : top + _ROWS], [first, *map(markdown.escape, columns)])


def blocks(columns: Columns) -> Iterator[str]:
    """Yield what the poison did, the worst case by budget, what poison and defence did together, and what else is held
    to a threshold.
    """
    group = columns.group
    names = next((found for found in map(headline.headline, group.records) if found is not None), None)
    others = _held(group, names)
    if names is not None or not others:
        yield from _damages(columns, names)
    for metric, bounds in others.items():
        name = " ".join(filter(None, [markdown.code(metric), arrow(metric)]))
        yield f"### Held to a threshold: {name} ({markdown.escape(', '.join(bounds))})"
        yield from columns.tables([_judged_line(group, attack, metric) for attack in group.attacks], "attack")


def _held(group: RecordGroup, names: headline.Headline | None) -> dict[str, list[str]]:
    """Return the metrics with thresholds that no other table shows, such as those of a user's protocol, each with its
    bounds.
    """
    shown = _ELSEWHERE if names is None else _ELSEWHERE | {names.damage, names.total, names.cost}
    thresholds = {one.threshold for record in group.records for one in record.judgements}
    bounds: defaultdict[str, list[str]] = defaultdict(list)
    for one in sorted(thresholds, key=lambda one: (one.metric, one.op, one.bound)):
        if one.metric not in shown:
            bounds[one.metric].append(f"{one.op} {one.bound:g}")
    return bounds


def _judged_line(group: RecordGroup, attack: str, metric: str) -> Line:
    texts = {
        defense: "<br>".join(cells.judged(record, metric) for record in group.cell(attack, defense)) or NOT_RUN
        for defense in group.defenses
    }
    return attack_name(group, attack), texts


def _damages(columns: Columns, names: headline.Headline | None) -> Iterator[str]:
    group = columns.group
    title, metric = (names.title, names.damage) if names else ("What the poison did", "rad")
    yield f"### {title} (`{metric}` {arrow(metric)})"
    yield from columns.tables([line for attack in group.attacks for line in _attack_lines(group, attack)], "attack")
    budgets = {rows: attacks for rows, attacks in attacks_by_budget(group).items() if len(attacks) > 1}
    if budgets and names is not None and names.ranks:
        yield f"### Worst case, of attacks with as many poison rows (`{metric}` {arrow(metric)})"
        of = train_rows(group.records)
        lines = [
            (f"{rows_and_share(rows, of)}, {len(attacks)} attacks", _worst_texts(group, attacks))
            for rows, attacks in budgets.items()
        ]
        yield from columns.tables(lines, "poison rows")
    if names is not None and names.total is not None and any(map(headline.total, group.records)):
        yield f"### Attack and defence together (`{names.total}` {arrow(names.total)})"
        lines = [(attack_name(group, attack), _texts(group, attack, _total)) for attack in group.attacks]
        yield from columns.tables(lines, "attack")


def attack_name(group: RecordGroup, attack: str) -> str:
    """Return an attack's label, escaped, with the mark that says how it compares with random flips."""
    sign = " *(control)*" if attack in group.controls else " ‡" if attack in group.no_better_than_control else ""
    return markdown.escape(attack) + sign


def _attack_lines(group: RecordGroup, attack: str) -> Iterator[Line]:
    """Yield the line of an attack, and that of its control if there is one in the same records."""
    yield attack_name(group, attack), _texts(group, attack, _damage)
    controls = {defense: target_counts.control(group.cell(attack, defense)) for defense in group.defenses}
    if any(controls.values()):
        yield f"*{markdown.escape(attack)}, control*", controls


def _texts(group: RecordGroup, attack: str, format_cell: Callable[[Record, bool], str]) -> dict[str, str]:
    best = group.best(attack)
    return {
        defense: "<br>".join(format_cell(record, record is best) for record in group.cell(attack, defense)) or NOT_RUN
        for defense in group.defenses
    }


def _damage(record: Record, best: bool) -> str:
    text = cells.damage(record, bold=best)
    named = record.details.get("worst_attack")
    text += f" by {markdown.escape(named)}" if isinstance(named, str) else ""
    return f"{text} §" if beaten_by_trusted_rows(record) and not is_clean(record) else text


def _total(record: Record, best: bool) -> str:
    text = cells.estimate(headline.total(record)) or cells.state(record)
    return f"**{text}**" if best else text


def _worst_texts(group: RecordGroup, attacks: Sequence[str]) -> dict[str, str]:
    texts = {}
    for defense in group.defenses:
        found = worst(group, attacks, defense)
        if found is None:
            texts[defense] = NOT_RUN
            continue
        few = f", {found.run} of {len(attacks)} run" if found.run < len(attacks) else ""
        texts[defense] = f"{cells.estimate(found.damage)} {markdown.escape(found.attack)}{few}"
    return texts
