"""What the gate says of runs that differ in nothing but chance, and of runs that differ in more, by simulation."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gradshape_bench.gate.comparison import Comparison, Kind, compare
from gradshape_bench.gate.rules import Rule
from gradshape_bench.gate.snapshot import Key, Sample, Snapshot
from tests.bench.sample import ENVIRONMENT

GATES = 1_000
CASES = 6
RULES = (Rule("rad", absolute=0.01), Rule("utility_loss", absolute=0.01), Rule("success_rate", absolute=0.1))
ROWS, TARGETS = 500, 12
# Deviations of mean 0.
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def normal(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return generator.normal(size=size)


def heavy(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return generator.standard_t(3, size=size)


def skewed(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return generator.exponential(size=size) - 1


class Runs:
    """Runs of a few cases, whose metrics vary with the seeds, each case by as much as cases of the suites do.

    Args:
        draw: draws the deviations.
        generator: draws everything.
        shares: whether accuracies are multiples of a row of the test set.
    """

    def __init__(self, draw: Draw, generator: np.random.Generator, *, shares: bool = True) -> None:
        self._draw, self._generator, self._shares = draw, generator, shares
        self._levels = generator.uniform(0, 0.3, size=CASES)
        # As measured: a median of 0.007, and some cases five times as loud.
        self._spreads = np.exp(generator.normal(np.log(0.007), 1, size=CASES))
        self._chances = generator.choice([0.02, 0.3, 0.5, 0.9], size=CASES)

    def run(self, seeds: range, *, shift: float = 0.0, worse: Sequence[int] = range(CASES)) -> dict[Key, Snapshot]:
        """Return a run of all cases, of which some are worse by ``shift``."""
        shifts = np.zeros(CASES)
        shifts[list(worse)] = shift
        rad = self._samples(self._levels + shifts, self._spreads, len(seeds))
        loss = self._samples(0.02 + shifts, self._spreads / 5, len(seeds))
        won = (self._generator.random((CASES, TARGETS)) < self._chances[:, None]).astype(float).tolist()
        return {
            ("smoke", f"case_{place}"): Snapshot(
                "smoke",
                f"case_{place}",
                challenge="c",
                rows="d",
                environment=ENVIRONMENT,
                seeds=tuple(seeds),
                samples={
                    "rad": rad[place],
                    "utility_loss": loss[place],
                    "success_rate": Sample(
                        sum(won[place]) / TARGETS, TARGETS, values=tuple(won[place]), of_trials=True, step=1 / TARGETS
                    ),
                },
                trials=tuple((place,) for place in range(TARGETS)) if place % 2 else None,
            )
            for place in range(CASES)
        }

    def _samples(self, levels: np.ndarray, spreads: np.ndarray, seeds: int) -> list[Sample]:
        values = levels[:, None] + spreads[:, None] * self._draw(self._generator, (CASES, seeds))
        if self._shares:
            values = np.round(values * ROWS) / ROWS
        step = 1 / ROWS if self._shares else None
        means = values.mean(1).tolist()
        return [
            Sample(mean, seeds, values=tuple(own), step=step) for mean, own in zip(means, values.tolist(), strict=True)
        ]


def says_worse(comparison: Comparison) -> bool:
    return bool(comparison.counts[Kind.WORSE]) or comparison.broadly_worse


@pytest.mark.parametrize(
    ("draw", "seeds", "paired", "shares"),
    [(normal, 5, False, True), (normal, 3, True, True), (heavy, 5, True, False), (skewed, 3, False, False)],
)
def test_same_recipe_is_called_worse_by_at_most_5_percent_of_gates(
    draw: Draw, seeds: int, paired: bool, shares: bool
) -> None:
    generator = np.random.default_rng(seeds + 10 * paired)
    alarms = 0
    for _ in range(GATES):
        runs = Runs(draw, generator, shares=shares)
        base = runs.run(range(seeds))
        new = runs.run(range(seeds) if paired else range(100, 100 + seeds))
        alarms += says_worse(compare(base, new, RULES))
    assert alarms <= 0.05 * GATES


@pytest.mark.parametrize("paired", [True, False])
def test_real_regression_of_one_case_is_found(paired: bool) -> None:
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(50):
        runs = Runs(normal, generator)
        base = runs.run(range(5))
        new = runs.run(range(5) if paired else range(5, 10), shift=0.1, worse=[3])
        comparison = compare(base, new, RULES)
        found += says_worse(comparison)
    assert found >= 45


def test_real_regression_of_all_cases_is_found_with_three_seeds() -> None:
    generator = np.random.default_rng(4)
    found = 0
    for _ in range(50):
        runs = Runs(normal, generator)
        base = runs.run(range(3))
        found += says_worse(compare(base, runs.run(range(3), shift=0.1), RULES))
    assert found >= 45


def test_other_way_round_it_is_called_better() -> None:
    runs = Runs(normal, np.random.default_rng(5))
    base, new = runs.run(range(5)), runs.run(range(5), shift=0.1)
    found = compare(new, base, RULES)
    kinds = Counter(change.kind for _, change in found.compared)
    assert kinds[Kind.BETTER] >= CASES / 2
    assert not says_worse(found)
