"""What the page knows of every case before any is opened: enough to show, sort and filter the matrix."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradshape.metrics import Estimate
from gradshape_bench.protocols import meaning
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.attack_controls import control_labels, no_better_than_control
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.headline import cost, damage, headline, total
from gradshape_bench.report.html.changes import MISSING, Change
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.report.ordering import best_defense
from gradshape_bench.report.threats import threat
from gradshape_bench.verdict import Verdict

_VERDICTS = (None, Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)
# Significant digits: what is opened shows all of them.
_DIGITS = 6
_SEPARATOR = " \N{MIDDLE DOT} "


@dataclass(frozen=True)
class Row:
    """A case of the matrix: its record, and what became of it if there is something to compare with.

    Attributes:
        record: the record; of a case that is missing now, the earlier one.
        before: the earlier record, if both are there.
        change: what became of it; ``None`` if there is nothing to compare with.
    """

    record: Record
    before: Record | None = None
    change: Change | None = None

    @property
    def is_there(self) -> bool:
        """Whether the case has a record now."""
        return self.change is None or self.change.kind != MISSING


class Names:
    """Numbers for names, in the order in which they are asked for."""

    def __init__(self, *first: str) -> None:
        self._numbers = {name: number for number, name in enumerate(first)}

    def number(self, name: str) -> int:
        """Return the number of ``name``, a new one if it has none."""
        return self._numbers.setdefault(name, len(self._numbers))

    def listed(self) -> list[str]:
        """Return the names, by number."""
        return list(self._numbers)


def index(groups: Sequence[tuple[RecordGroup, Sequence[Row]]]) -> dict[str, Any]:
    """Return the index as plain values.

    Args:
        groups: sections of the page, with the rows of each in the order of the page.
    """
    attacks, defenses, statuses, notes = Names(), Names(), Names(Status.OK.value), Names("")
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    unusual: dict[str, str] = {}
    sections = []
    for group, rows in groups:
        for row in rows:
            record = row.record
            if record.case != _usual_id(record):
                unusual[str(len(columns["attack"]))] = record.case
            columns["attack"].append(attacks.number(record.attack))
            columns["defense"].append(defenses.number(record.defense))
            _judged(columns, row)
            columns["status"].append(statuses.number(record.status.value))
            columns["note"].append(notes.number(_note(record)))
            _numbers(columns, row)
            if row.change is not None:
                _compared(columns, row, row.change)
        sections.append(_section(group, rows, attacks, defenses))
    metrics = {name for _, rows in groups for row in rows for name in row.record.metrics}
    return {
        "attacks": attacks.listed(),
        "defenses": defenses.listed(),
        "statuses": statuses.listed(),
        "notes": notes.listed(),
        "sections": sections,
        "cases": dict(columns),
        "unusual": unusual,
        "metrics": {
            name: [METRICS[name].definition, METRICS[name].lower_is_better] for name in METRICS if name in metrics
        },
        "protocols": _meanings(group.protocol for group, _ in groups),
    }


def _usual_id(record: Record) -> str:
    parts = [record.dataset.replace("/", "_"), record.model, record.attack, record.defense]
    return "-".join(parts if record.protocol == "from_scratch" else [*parts, record.protocol])


def _judged(columns: Mapping[str, list[Any]], row: Row) -> None:
    record = row.record
    columns["verdict"].append(_VERDICTS.index(record.verdict) if row.is_there else 0)
    columns["missed"].append(int(bool(record.missed) and row.is_there))
    columns["expected"].append(int(record.expected_failure is not None))


def _note(record: Record) -> str:
    """Return why there is no measurement, or why thresholds are missed although the number looks well."""
    if record.status is not Status.OK:
        return record.reason or "no reason recorded"
    return _SEPARATOR.join(dict.fromkeys(judgement.reason for judgement in record.judgements if judgement.reason))


def _numbers(columns: Mapping[str, list[Any]], row: Row) -> None:
    shown = damage(row.record) if row.is_there else None
    value, low, high = _parts(shown if shown is not None and shown.n else None)
    columns["value"].append(value)
    columns["low"].append(low)
    columns["high"].append(high)
    columns["n"].append(0 if shown is None else shown.n)
    columns["cost"].append(_parts(cost(row.record) if row.is_there else None)[0])
    columns["total"].append(_parts(total(row.record) if row.is_there else None)[0])


def _compared(columns: Mapping[str, list[Any]], row: Row, change: Change) -> None:
    before = row.before if row.is_there else row.record
    old = None if before is None else damage(before)
    for name, part in zip(("old_value", "old_low", "old_high"), _parts(old), strict=True):
        columns[name].append(part)
    columns["old_verdict"].append(0 if before is None else _VERDICTS.index(before.verdict))
    columns["old_missed"].append(int(before is not None and bool(before.missed)))
    columns["old_expected"].append(int(before is not None and before.expected_failure is not None))
    columns["kind"].append(change.kind)
    columns["reason"].append(change.reason)
    for name, part in zip(("change", "change_low", "change_high"), _parts(change.difference), strict=True):
        columns[name].append(part)


def _parts(estimate: Estimate | None) -> list[float | None]:
    if estimate is None:
        return [None, None, None]
    return [None if part is None else _short(part) for part in (estimate.value, estimate.low, estimate.high)]


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _section(group: RecordGroup, rows: Sequence[Row], attacks: Names, defenses: Names) -> dict[str, Any]:
    there = [row.record for row in rows if row.is_there]
    shown = there or [row.record for row in rows]
    names = next((found for found in map(headline, shown) if found is not None), None)
    weak = no_better_than_control(there)
    by_attack: defaultdict[str, list[Record]] = defaultdict(list)
    for record in there:
        by_attack[record.attack].append(record)
    best = {attack: best_defense(found) for attack, found in by_attack.items() if attack not in weak}
    return {
        "scale": group.scale,
        "dataset": group.dataset,
        "model": group.model,
        "protocol": group.protocol,
        "threat": threat(shown).value,
        "rows": len(rows),
        "attacks": [attacks.number(label) for label in group.attacks],
        "defenses": [defenses.number(label) for label in group.defenses],
        "damage": None if names is None else names.damage,
        "words": "No measurement" if names is None else names.title,
        "total": None if names is None else names.total,
        "cost": None if names is None else names.cost,
        "ranks": names is not None and names.ranks,
        "weak": sorted(attacks.number(label) for label in weak),
        "controls": sorted(attacks.number(label) for label in control_labels(there)),
        "best": {
            str(attacks.number(attack)): defenses.number(b.defense) for attack, b in best.items() if b is not None
        },
        "kinds": _kinds(group),
        "confidence": _confidence(shown),
    }


def _kinds(group: RecordGroup) -> list[str]:
    """Return the kind of each defence, in their order; empty where it is not recorded."""
    kinds: dict[str, str] = {}
    for record in group.records:
        kind = record.details.get("defense_kind")
        if isinstance(kind, str):
            kinds.setdefault(record.defense, kind)
    return [kinds.get(label, "") for label in group.defenses]


def _confidence(records: Sequence[Record]) -> float:
    return Counter(record.confidence for record in records).most_common(1)[0][0]


def _meanings(protocols: Iterable[str]) -> dict[str, str]:
    told = {name: meaning(name) for name in sorted(set(protocols))}
    return {name: words for name, words in told.items() if words}
