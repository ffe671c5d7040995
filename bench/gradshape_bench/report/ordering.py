"""The order of cases in reports, and the best defence against an attack."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import judged

_SCALES = ("paper", "smoke")


@cache
def label_order(label: str, *, falling: tuple[str, ...] = ()) -> tuple[Any, ...]:
    """Return the sort key of an attack's label: by family, then by its numbers, however they are written.

    Args:
        label: ``family_intensity``, or several parts, as in ``label_flip_koh90_10``.
        falling: names of parts whose larger numbers come first.

    >>> sorted(["label_flip_10", "label_flip_1", "label_flip_0.5"], key=label_order)
    ['label_flip_0.5', 'label_flip_1', 'label_flip_10']
    """
    return _label_order(label, tuple(falling))


# Every record of a file is sorted by its labels, and these are few.
@cache
def _label_order(label: str, falling: tuple[str, ...]) -> tuple[Any, ...]:
    parts = [re.fullmatch(r"([^\W\d]*?)(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", part) for part in label.split("_")]
    family = [part for part, match in zip(label.split("_"), parts, strict=True) if match is None]
    numbers = [(match[1], float(match[2]) * (-1 if match[1] in falling else 1)) for match in parts if match]
    return family, len(numbers), numbers, label


def defense_order(label: str) -> tuple[Any, ...]:
    """Return the sort key of a defence's label: plain training, then each family from weak settings to strong ones.

    >>> sorted(["dp_adam_c4_s0.1", "dp_adam_c0.1", "dp_adam_c8", "dp_adam_c4_s1e-07", "vanilla"], key=defense_order)
    ['vanilla', 'dp_adam_c8', 'dp_adam_c0.1', 'dp_adam_c4_s1e-07', 'dp_adam_c4_s0.1']
    """
    return label != "vanilla", label_order(label, falling=("c",))


def case_order(record: Record) -> tuple[Any, ...]:
    """Return the sort key of a record: by scale (paper, smoke, others), then by section, attack and defence."""
    place = _SCALES.index(record.scale) if record.scale in _SCALES else len(_SCALES)
    section = (record.dataset, record.model, record.protocol)
    return place, record.scale, section, label_order(record.attack), defense_order(record.defense), record.case


def best_defense(row: Iterable[Record]) -> Record | None:
    """Return the record with the smallest ``rad_vs_vanilla``, or what stands for it, among those of one attack.

    Controls, which are told what is poison, do not compete, nor do defences that do not beat their own trusted rows.
    Of equal records the first in the order of columns is the best. There is no best without poison, or with fewer than
    two defences to compare.
    """
    compared = [(record, judged(record)) for record in sorted(row, key=case_order) if _competes(record)]
    measured = [(record, estimate.value) for record, estimate in compared if estimate is not None]
    if len({record.defense for record, _ in measured}) < 2 or any(is_clean(record) for record, _ in measured):
        return None
    # The last bits depend on the stack that a victim was trained in and must not break a tie.
    return min(measured, key=lambda pair: round(pair[1], 12))[0]


def is_control(record: Record) -> bool:
    """Return whether the record's defence is a control that bounds the others."""
    return record.details.get("defense_kind") == "control"


def beaten_by_trusted_rows(record: Record) -> bool:
    """Return whether a model trained on nothing but the rows that the defence trusts is at least as good.

    It is false of a defence that is not given trusted rows, or whose record does not say.
    """
    alone, together = (record.metrics.get(name) for name in ("rad_trusted", "rad_vs_vanilla"))
    return alone is not None and together is not None and alone.value <= together.value


def _competes(record: Record) -> bool:
    return not (is_control(record) or beaten_by_trusted_rows(record))


def poison_counts(record: Record) -> list[int]:
    """Return how many poison rows there were, by seed; empty if that is not recorded."""
    counts = record.details.get("poison_rows")
    return [count for count in counts if isinstance(count, int)] if isinstance(counts, list | tuple) else []


def is_clean(record: Record) -> bool:
    """Return whether the record's attack added no poison."""
    counts = poison_counts(record)
    return record.details.get("budget") == 0 or (bool(counts) and not any(counts))
