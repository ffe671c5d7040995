"""The ranking of defences against one threat: the worst case on every task that all of them share, and its mean."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from gradshape.metrics import Estimate
from gradshape_bench.case import UTILITY
from gradshape_bench.clean_model import ruin
from gradshape_bench.records.record import Record
from gradshape_bench.report.board.budgets import budget
from gradshape_bench.report.board.rank_intervals import Certainty, TaskTable, certainty, order_of
from gradshape_bench.report.board.shared_cells import SharedCells, shared_cells
from gradshape_bench.report.board.standings import Apart, Cell, Field, Ranking, Standing, TaskName
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.headline import cost, headline, judged, total
from gradshape_bench.report.ordering import defense_order, is_clean, is_control
from gradshape_bench.report.threats import Threat, threat
from gradshape_bench.verdict import Verdict

_UNDEFENDED = "vanilla"
_WORST_CASE = "worst_case"
_SHARES = ("success_rate", "backdoor_rate")


def rankings(groups: Sequence[RecordGroup]) -> list[Ranking]:
    """Rank the defences of every field that has two or more, in the order of reports."""
    fields: defaultdict[Field, list[RecordGroup]] = defaultdict(list)
    for group in groups:
        field = _field(group)
        if field is not None and not _stands_for_others(group, groups):
            fields[field].append(group)
    scales = list(dict.fromkeys(group.scale for group in groups))
    threats = list(Threat)
    keys = sorted(
        fields,
        key=lambda one: (scales.index(one.scale), threats.index(one.threat), one.regression, one.fitted, one.metric),
    )
    found = (_ranking(field, fields[field]) for field in keys)
    return [ranking for ranking in found if ranking is not None]


def _field(group: RecordGroup) -> Field | None:
    what = threat(group.records)
    first = next((record for record in group.records if judged(record) is not None), None)
    names = None if first is None else headline(first)
    if what is Threat.NONE or first is None or names is None:
        return None
    metric = names.total if names.total is not None and total(first) is not None else names.damage
    return Field(group.scale, what, metric, fitted="estimator" in first.details)


def _stands_for_others(group: RecordGroup, groups: Sequence[RecordGroup]) -> bool:
    """Return whether the group is of worst cases of attacks that have a group of their own."""
    if not group.protocol.startswith(_WORST_CASE):
        return False
    return any(
        (other.scale, other.dataset, other.model) == (group.scale, group.dataset, group.model)
        and not other.protocol.startswith(_WORST_CASE)
        and _field(other) == _field(group)
        for other in groups
    )


def _ranking(field: Field, groups: Sequence[RecordGroup]) -> Ranking | None:
    weak = {
        _name(group): [attack for attack in group.attacks if attack in group.controls | group.no_better_than_control]
        for group in groups
    }
    measured: defaultdict[str, dict[Cell, Record]] = defaultdict(dict)
    for group in groups:
        for record in group.records:
            if record.attack not in weak[_name(group)] and not is_clean(record) and _value(field, record) is not None:
                measured[record.defense].setdefault((_name(group), record.attack), record)
    controls = {label for label, cells in measured.items() if any(map(is_control, cells.values()))}
    able = {label: cells for label, cells in measured.items() if label not in controls}
    # A single seed says nothing of an order: its cells count only where there are no others.
    sure = {
        label: {cell for cell, record in cells.items() if _has_interval(_value(field, record))}
        for label, cells in able.items()
    }
    shared = shared_cells(sure, reference=_UNDEFENDED)
    if shared is None:
        sure = {label: set(cells) for label, cells in able.items()}
        shared = shared_cells(sure, reference=_UNDEFENDED)
    if shared is None:
        return None
    tasks = {
        _name(group): cells
        for group in groups
        if (cells := [attack for attack in group.attacks if (_name(group), attack) in shared.cells])
    }
    everything = [(name, attack) for name, attacks in tasks.items() for attack in attacks]
    # Where the score counts what a defence costs, a clean model that does not work ranks low by itself.
    broken = _broken(able, shared) if field.metric == _damage_metric(groups) else {}
    ranked = [label for label in shared.defenses if label not in broken]
    if not ranked:
        return None
    tables = [_table(field, name, attacks, ranked, able) for name, attacks in tasks.items()]
    by_task = [[float(score) for score in of_all] for of_all in zip(*(table.scores for table in tables), strict=True)]
    scores = [sum(row) / len(row) for row in by_task]
    known, order = certainty(tables), order_of(scores)
    return Ranking(
        field,
        [
            _standing(field, ranked, place, by_task, known, [able[ranked[place]][cell] for cell in everything])
            for place in order
        ],
        separated=[] if known is None else [known.apart(*pair) for pair in pairwise(order)],
        paired=known is not None and known.paired,
        tasks=tasks,
        absent={
            label: [cell for cell in everything if cell not in cells]
            for label, cells in sorted(sure.items(), key=lambda item: defense_order(item[0]))
            if label not in shared.defenses
        },
        broken=broken,
        controls={label: _score(field, tasks, measured[label]) for label in sorted(controls, key=defense_order)},
        weak={name: attacks for name, attacks in weak.items() if attacks},
        elsewhere=[_name(group) for group in groups if _name(group) not in tasks],
    )


def _name(group: RecordGroup) -> TaskName:
    return group.dataset, group.model, group.protocol


def _value(field: Field, record: Record) -> Estimate | None:
    """Return the estimate that ranks the record, if it is of the metric of the field."""
    estimate = judged(record)
    return estimate if estimate is not None and estimate is record.metrics.get(field.metric) else None


def _has_interval(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.low is not None and estimate.high is not None


def _damage_metric(groups: Iterable[RecordGroup]) -> str | None:
    found = (headline(record) for group in groups for record in group.records)
    return next((names.damage for names in found if names is not None), None)


def _broken(measured: Mapping[str, Mapping[Cell, Record]], shared: SharedCells[Cell]) -> dict[str, str]:
    """Return the defences whose clean model does not work in a shared cell, each with the first reason."""
    found = {}
    for label in shared.defenses:
        reasons = (_ruin(record) for cell, record in measured[label].items() if cell in shared.cells)
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is not None:
            found[label] = reason
    return found


def _ruin(record: Record) -> str | None:
    trivial = record.details.get("trivial")
    found = ruin(record.metrics, trivial=trivial if isinstance(trivial, Mapping) else {}, utility=UTILITY)
    return None if found is None else found.reason


def _table(
    field: Field,
    name: TaskName,
    attacks: Sequence[str],
    defenses: Sequence[str],
    measured: Mapping[str, Mapping[Cell, Record]],
) -> TaskTable:
    rows = [[measured[label][name, attack] for attack in attacks] for label in defenses]
    # Where the budget is not recorded, no two attacks share one.
    budgets = [-place if (rows_ := budget(record)) is None else rows_ for place, record in enumerate(rows[0], start=1)]
    return TaskTable(
        [[_known(field, record) for record in row] for row in rows],
        [[record.seeds for record in row] for row in rows],
        budgets,
        shares=field.metric in _SHARES,
    )


def _known(field: Field, record: Record) -> Estimate:
    return record.metrics[field.metric]


def _score(field: Field, tasks: Mapping[TaskName, Sequence[str]], cells: Mapping[Cell, Record]) -> float | None:
    """Return the score of a defence that is not ranked; ``None`` if it lacks a cell."""
    if any((name, attack) not in cells for name, attacks in tasks.items() for attack in attacks):
        return None
    tables = [_table(field, name, attacks, [""], {"": cells}) for name, attacks in tasks.items()]
    return float(sum(table.scores[0] for table in tables) / len(tables))


def _standing(
    field: Field,
    labels: Sequence[str],
    place: int,
    by_task: Sequence[Sequence[float]],
    known: Certainty | None,
    records: Sequence[Record],
) -> Standing:
    scores = [sum(row) / len(row) for row in by_task]
    verdicts = Counter(record.verdict for record in records)
    kind = records[0].details.get("defense_kind")
    return Standing(
        labels[place],
        kind=kind if isinstance(kind, str) else "",
        rank=1 + sum(round(score, 9) < round(scores[place], 9) for score in scores),
        ranks=None if known is None else known.ranks(place),
        score=scores[place],
        by_task=by_task[place],
        interval=None if known is None else known.score(place),
        against_vanilla=None if known is None else _against_vanilla(labels, place, known),
        worst=max(records, key=lambda record: round(_known(field, record).value, 12)),
        cost=_mean_by_task(records, cost),
        trusted=_mean_by_task(records, lambda record: record.metrics.get("rad_trusted")),
        verdicts=(verdicts[Verdict.PASS], verdicts[Verdict.FAIL], verdicts[Verdict.INCONCLUSIVE]),
        records=records,
    )


def _against_vanilla(labels: Sequence[str], place: int, known: Certainty) -> Apart | None:
    if _UNDEFENDED not in labels or labels[place] == _UNDEFENDED:
        return None
    plain = labels.index(_UNDEFENDED)
    if known.apart(place, plain):
        return Apart.BETTER
    return Apart.WORSE if known.apart(plain, place) else Apart.NEITHER


def _mean_by_task(records: Iterable[Record], take: Callable[[Record], Estimate | None]) -> float | None:
    """Return the mean over the tasks of what the first record of each says; ``None`` if one does not."""
    firsts: dict[tuple[str, str, str], Estimate | None] = {}
    for record in records:
        firsts.setdefault((record.dataset, record.model, record.protocol), take(record))
    values = [estimate.value for estimate in firsts.values() if estimate is not None]
    return sum(values) / len(values) if values and len(values) == len(firsts) else None
