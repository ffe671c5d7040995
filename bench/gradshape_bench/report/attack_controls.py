"""Which attacks do no better than their controls, such as random flips with the same budget and constraints."""

import math
from collections.abc import Sequence

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import damage

_UNDEFENDED = "vanilla"


def own_control(record: Record) -> str | None:
    """Return the label of the attack that is the control of this record's attack; ``None`` if it has none."""
    label = record.details.get("attack_control")
    return label if isinstance(label, str) else None


def control_labels(records: Sequence[Record]) -> frozenset[str]:
    """Return the labels of attacks that are the control of another attack among these records."""
    return frozenset(label for record in records if (label := own_control(record)) is not None)


def no_better_than_control(records: Sequence[Record]) -> frozenset[str]:
    """Return the attacks that do not do significantly more to the undefended victim than their controls do.

    The control of an attack on single targets is in the attack's own record: the effect of clean rows in the place of
    the poison. The control of any other attack is another attack, with a record of its own.

    An attack does more if the difference of the two means exceeds the root of the summed squares of the half-widths of
    their intervals on the sides that face each other. Without intervals, that is with a single seed, no attack is shown
    to do more. An attack is left out if it or its control was not measured on the undefended victim.

    Args:
        records: records of one data set, model and protocol at one scale.
    """
    undefended = {record.attack: record for record in reversed(records) if record.defense == _UNDEFENDED}
    short = set()
    for attack, record in undefended.items():
        other = undefended.get(own_control(record) or "")
        controls = [record.metrics.get("success_rate_control"), None if other is None else damage(other)]
        done = damage(record)
        if done is not None and done.n and any(least is not None and not exceeds(done, least) for least in controls):
            short.add(attack)
    return frozenset(short)


def exceeds(one: Estimate, other: Estimate) -> bool:
    """Return whether ``one`` is above ``other`` by more than their intervals allow for; false without intervals.

    >>> exceeds(Estimate(0.10, 0.08, 0.12, n=5), Estimate(0.05, 0.03, 0.07, n=5))
    True
    >>> exceeds(Estimate(0.07, 0.05, 0.09, n=5), Estimate(0.05, 0.03, 0.07, n=5))
    False
    """
    if one.low is None or other.high is None:
        return False
    return one.value - other.value > math.hypot(one.value - one.low, other.high - other.value)
