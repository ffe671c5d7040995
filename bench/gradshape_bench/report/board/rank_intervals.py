"""How certain an order is: rank intervals by a bootstrap over tasks and seeds, paired between the defences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from gradshape.metrics import Estimate, Method

Floats = NDArray[np.float64]

DRAWS = 2000
CONFIDENCE = 0.95
# Differences below this are those of rounding.
_SAME = 1e-9
_SEED = 15
_NORMAL = float(special.ndtri((1 + CONFIDENCE) / 2))
_BY_SEED = (Method.STUDENT, Method.STUDENT_UNIT, Method.WIDER)


@dataclass(frozen=True)
class TaskTable:
    """What all defences of a ranking measured on one task.

    Attributes:
        rows: for each defence one estimate for each attack, in the same order.
        seeds: for each defence and attack the seeds of its record.
        budgets: for each attack what stands for its budget: of equal ones the worst attack counts.
        shares: whether the estimates are of shares, which never leave [0, 1].
    """

    rows: Sequence[Sequence[Estimate]]
    seeds: Sequence[Sequence[Sequence[int]]]
    budgets: Sequence[int]
    shares: bool = False

    @property
    def scores(self) -> Floats:
        """For each defence the mean over the budgets of the worst case: ``(defences,)``."""
        values = np.array([[estimate.value for estimate in row] for row in self.rows], dtype=float)
        return _over_budgets(values[:, :, None], self.budgets)[:, 0]

    @property
    def paired_seeds(self) -> list[int]:
        """The seeds that all records have values of; none if a record has no value for each of its seeds."""
        known: set[int] | None = None
        for row, lists in zip(self.rows, self.seeds, strict=True):
            for estimate, seeds in zip(row, lists, strict=True):
                if estimate.method not in _BY_SEED or len(estimate.values) != len(seeds):
                    return []
                known = set(seeds) if known is None else known & set(seeds)
        return sorted(known or ())


@dataclass(frozen=True, eq=False)
class Certainty:
    """What the bootstrap says of an order; see :func:`certainty`.

    Attributes:
        draws: scores of every draw, ``(defences, draws)``.
        paired: whether every task has values of single seeds to pair; else some are drawn from value and interval.
    """

    draws: Floats
    paired: bool

    def ranks(self, place: int) -> tuple[int, int]:
        """Return the ends of the interval of a defence's rank, from 1; equal scores share all of their ranks."""
        own = self.draws[place]
        with np.errstate(all="ignore"):
            best = 1 + (self.draws < own - _SAME).sum(axis=0)
            worst = len(self.draws) - (self.draws > own + _SAME).sum(axis=0)
        return int(_quantile(best, lower=True)), int(_quantile(worst, lower=False))

    def score(self, place: int) -> tuple[float, float]:
        """Return the ends of the interval of a defence's score."""
        return float(_quantile(self.draws[place], lower=True)), float(_quantile(self.draws[place], lower=False))

    def apart(self, better: int, worse: int) -> bool:
        """Return whether the interval of the difference of two scores lies above zero."""
        with np.errstate(all="ignore"):
            return bool(_quantile(self.draws[worse] - self.draws[better], lower=True) > _SAME)


def order_of(scores: Sequence[float]) -> list[int]:
    """Return the places of the scores from the best to the worst; of equal ones the first comes first."""
    return sorted(range(len(scores)), key=lambda place: (round(scores[place], 9), place))


def certainty(tables: Sequence[TaskTable]) -> Certainty | None:
    """Bootstrap the scores of defences, and with them their ranks.

    Tasks are drawn with replacement, and within each task the seeds, the same for all defences. Deviations of a mean
    over ``n`` seeds are stretched to those of Student's t, as a bootstrap of a few seeds promises too much. A task
    without values of single seeds is drawn from value and interval instead, each record on its own, which separates
    less. The draws have a fixed seed: the same tables give the same result.

    Args:
        tables: one for each task, at least one.

    Returns:
        The draws, from which intervals of 95 % follow; ``None`` if an estimate has neither values of two seeds nor an
        interval.
    """
    generator = np.random.Generator(np.random.PCG64(_SEED))
    drawn, paired = [], True
    for table in tables:
        seeds = table.paired_seeds
        if len(seeds) >= 2:
            values = _by_seed(table, seeds, generator)
        else:
            paired = False
            if any(estimate.low is None or estimate.high is None for row in table.rows for estimate in row):
                return None
            values = _by_interval(table, generator)
        drawn.append(_over_budgets(np.clip(values, 0, 1) if table.shares else values, table.budgets))
    places = np.floor(generator.random((DRAWS, len(tables))) * len(tables)).astype(int)
    # (tasks, defences, draws): of each draw the mean over the tasks that it drew.
    of_task = np.stack(drawn)
    with np.errstate(all="ignore"):
        total = np.mean([of_task[places[:, turn], :, np.arange(DRAWS)] for turn in range(len(tables))], axis=0)
    return Certainty(np.ascontiguousarray(total.T), paired)


def _by_seed(table: TaskTable, seeds: Sequence[int], generator: np.random.Generator) -> Floats:
    """Return draws of the means: ``(defences, attacks, draws)``."""
    n = len(seeds)
    drawn = np.floor(generator.random((DRAWS, n)) * n).astype(int)
    weights = (drawn[:, :, None] == np.arange(n)).mean(axis=1)
    values = np.array(
        [
            [[estimate.values[own.index(seed)] for seed in seeds] for estimate, own in zip(row, lists, strict=True)]
            for row, lists in zip(table.rows, table.seeds, strict=True)
        ]
    )
    means = np.array([[estimate.value for estimate in row] for row in table.rows])
    stretch = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) / _NORMAL * math.sqrt(n / (n - 1))
    deviations = (values - values.mean(axis=2, keepdims=True)) @ weights.T
    return np.asarray(means[:, :, None] + stretch * deviations)


def _by_interval(table: TaskTable, generator: np.random.Generator) -> Floats:
    """Return draws from two halves of normal distributions that have the reported intervals."""
    ends = np.array([[(e.low, e.value, e.high) for e in row] for row in table.rows], dtype=float)
    low, middle, high = (ends[:, :, place, None] for place in range(3))
    # Strictly within (0, 1), so that no draw is infinite.
    uniform = (np.floor(generator.random((*ends.shape[:2], DRAWS)) * 2**32) + 0.5) / 2**32
    normal = special.ndtri(uniform) / _NORMAL
    with np.errstate(all="ignore"):
        return np.asarray(middle + normal * np.where(normal < 0, middle - low, high - middle))


def _over_budgets(values: Floats, budgets: Sequence[int]) -> Floats:
    """Return the mean over the budgets of the largest value: from ``(defences, attacks, n)`` to ``(defences, n)``."""
    kinds = np.array(budgets)
    with np.errstate(all="ignore"):
        return np.asarray(
            np.mean([values[:, kinds == kind].max(axis=1) for kind in dict.fromkeys(budgets)], axis=0), dtype=float
        )


def _quantile(draws: NDArray[np.number], *, lower: bool) -> np.number:
    skipped = math.floor((1 - CONFIDENCE) / 2 * len(draws))
    found: np.number = np.sort(draws)[skipped if lower else len(draws) - 1 - skipped]
    return found
