"""What attackers and defenders know and what they cost: the columns of the paper's Tables 1 and 2, and measurements."""

from collections.abc import Iterable, Iterator, Sequence

from gradshape_bench.records.privacy_ledger import assumption, epsilon, is_noisy, ledger
from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, headline, markdown
from gradshape_bench.report.attack_controls import own_control
from gradshape_bench.report.board.budgets import budget, rows_and_share, train_rows
from gradshape_bench.report.board.matrix import Columns, attack_name
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.metric_definitions import arrow

_ATTACKER_KNOWS = ("training data", "features", "algorithm", "parameters")
_DEFENDER_KNOWS = ("training data", "model", "targets", "clean rows", "budget", "poison")
_YES = "●"


def attacks(group: RecordGroup) -> str:
    """Return the table of the attacks: how much poison, what they know (Table 1), what it takes to make it."""
    headers = ["attack", "poison rows", *_ATTACKER_KNOWS, "must beat", "crafting, s"]
    return _table(headers, [_attack(group, attack) for attack in group.attacks])


def _attack(group: RecordGroup, attack: str) -> list[str]:
    records = [record for defense in group.defenses for record in group.cell(attack, defense)]
    rows = {known for record in records if (known := budget(record)) is not None}
    shown = [rows_and_share(count, train_rows(records)) for count in sorted({min(rows), max(rows)})] if rows else []
    control = next((label for record in records if (label := own_control(record)) is not None), "")
    return [
        attack_name(group, attack),
        " to ".join(shown),
        *_known(records, "attack_knows", _ATTACKER_KNOWS),
        markdown.escape(control),
        _seconds(records, "crafting"),
    ]


def defenses(columns: Columns) -> str:
    """Return the table of the defences: what they are told (Table 2), and what they cost without any poison."""
    group = columns.group
    names = next((found for found in map(headline.headline, group.records) if found is not None), None)
    price = "cost" if names is None or names.cost is None else names.cost
    headers = ["defence", "kind", *(f"told: {what}" for what in _DEFENDER_KNOWS), f"{price} {arrow(price)}".strip()]
    headers += ["trusted rows alone ↓", "filtering, s", "training, s", "nominal ε", "ε that holds"]
    noisy = any(map(is_noisy, group.records))
    kinds = {defense: kind for kind, own in columns.kinds.items() for defense in own}
    return _table(headers, [_defense(group, defense, kind, noisy) for defense, kind in kinds.items()])


def _defense(group: RecordGroup, defense: str, kind: str, noisy: bool) -> list[str]:
    records = [record for attack in group.attacks for record in group.cell(attack, defense)]
    spent = [ledger(record) for record in records if noisy and ledger(record)]
    return [
        markdown.escape(defense),
        markdown.escape(kind),
        *_known(records, "defense_knows", _DEFENDER_KNOWS),
        _different(cells.estimate(headline.cost(record)) for record in records),
        _different(cells.estimate(record.metrics.get("rad_trusted")) for record in records),
        _seconds(records, "filtering"),
        _seconds(records, "training"),
        *(_different(epsilon(one.get(key)) for one in spent) for key in ("nominal_epsilon", "epsilon")),
    ]


def privacy_note(group: RecordGroup) -> str:
    """Return the assumptions of the epsilons; empty if no defence adds noise."""
    ledgers = [ledger(record) for record in group.records if is_noisy(record)]
    if not ledgers:
        return ""
    deltas, accountants = (
        " / ".join(sorted({cells.plain(spent.get(key)) for spent in ledgers})) for key in ("delta", "accountant")
    )
    words = " ".join(sorted({assumption(spent.get("sampling")) for spent in ledgers}))
    return markdown.escape(f"ε at δ = {deltas}, accountant {accountants}. {words}")


def _known(records: Iterable[Record], key: str, kinds: Sequence[str]) -> Iterator[str]:
    known = {str(what) for record in records if isinstance(told := record.details.get(key), list) for what in told}
    return (_YES if what in known else "" for what in kinds)


def _seconds(records: Iterable[Record], what: str) -> str:
    found = [record.costs[what] for record in records if what in record.costs]
    return f"{sum(found) / len(found):.2g}" if found else ""


def _different(texts: Iterable[str]) -> str:
    """Return the texts that differ: one if the cases agree."""
    return "<br>".join(text for text in dict.fromkeys(texts) if text)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns that nobody has anything in."""
    kept = [place for place in range(len(headers)) if place == 0 or any(row[place] for row in rows)]
    return markdown.table([[row[place] for place in kept] for row in rows], [headers[place] for place in kept])
