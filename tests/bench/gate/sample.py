"""Cases as two runs would leave them, for the tests of the gate."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradshape.metrics import Estimate, mean_over_seeds, rate_over_trials
from gradshape_bench.gate.comparison import Comparison, compare
from gradshape_bench.gate.rules import DEFAULT_RULES, Rule
from gradshape_bench.gate.snapshot import Key, Snapshot, snapshot
from gradshape_bench.records.record import Record
from tests.bench.sample import ENVIRONMENT, make

STEADY = (0.100, 0.103, 0.098, 0.101, 0.099)
WORSE = (0.200, 0.204, 0.197, 0.201, 0.198)


def record(
    rad: Sequence[float] | None = STEADY,
    *,
    rates: Sequence[float] | None = None,
    trials: Sequence[Sequence[int]] | None = None,
    more: Mapping[str, Estimate] | None = None,
    attack: str = "label_flip_10",
    seeds: Sequence[int] | None = None,
    **fields: Any,
) -> Record:
    """A record of a case with values of its seeds, and of its targets if ``rates`` are given."""
    metrics = dict(more or {})
    if rad is not None:
        metrics["rad"] = mean_over_seeds(rad)
    if rates is not None:
        metrics["success_rate"] = rate_over_trials(rates)
    details = {"test_rows": 1_000, **({} if trials is None else {"trials": [list(trial) for trial in trials]})}
    values: dict[str, Any] = {
        "challenge": "c" * 64,
        "environment": ENVIRONMENT | {"platform": "Linux", "numpy": "2.4.6"},
        "seeds": tuple(range(5 if rad is None else len(rad)) if seeds is None else seeds),
        "metrics": metrics,
        "judgements": (),
        "details": details,
    }
    return make(attack=attack, **values | fields)


def snapshots(records: Iterable[Record], rules: Sequence[Rule] = DEFAULT_RULES) -> dict[Key, Snapshot]:
    return {record.key: snapshot(record, [rule.metric for rule in rules]) for record in records}


def compared(
    base: Iterable[Record], new: Iterable[Record], rules: Sequence[Rule] = DEFAULT_RULES, **options: Any
) -> Comparison:
    return compare(snapshots(base, rules), snapshots(new, rules), rules, **options)
