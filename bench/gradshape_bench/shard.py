"""A shard of a run: which of the selected cases one of several machines runs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gradshape_bench.case import Case

# More machines than anybody has, and few enough to be counted.
_MOST = 100_000
Item = TypeVar("Item")
# Scale and id of a case.
Key = tuple[str, str]


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a run.

    Args:
        index: number of the part, from 1.
        count: how many parts there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``I/N``.

        Raises:
            ValueError: ``text`` is not of that form, or there is no I-th of N parts.

        >>> Shard.parse("2/8")
        Shard(index=2, count=8)
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        if match is None:
            raise ValueError(f"{text!r:.60}: expected I/N, such as 2/8 for the second of eight parts")
        index, count = int(match[1]), int(match[2])
        if not 1 <= count <= _MOST or not 1 <= index <= count:
            raise ValueError(f"{text!r}: expected 1 <= I <= N <= {_MOST:,}: the parts are 1/{count} to {count}/{count}")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this part of ``items``, which are cut into parts whose sizes differ by at most one.

        >>> [Shard(index, 3).of("abcdefgh") for index in (1, 2, 3)]
        ['ab', 'cde', 'fgh']
        """
        return items[len(items) * (self.index - 1) // self.count : len(items) * self.index // self.count]

    def cases(self, cases: Iterable[Case]) -> set[Key]:
        """Return scale and id of those of the selected cases that this part runs.

        The cases are put in an order that depends on nothing but what they are called, in which those on the same rows
        stand together, of these those that train the same model in the same experiment, and of these those that share
        poison. Wherever they are cut, few shards need the same data, clean references and poison.
        """
        ordered = sorted({_place(case): (case.scale.value, case.id) for case in cases}.items())
        return {key for _, key in self.of(ordered)}


def _place(case: Case) -> tuple[Any, ...]:
    rows, labels = case.rows, case.labels
    size = tuple(-1 if count is None else count for count in (rows.train, rows.test))
    return (
        *(case.scale.value, rows.dataset, size),
        *(labels["model"], labels["protocol"], labels["attack"], labels["defense"], case.id),
    )
