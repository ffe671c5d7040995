from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from gradshape_bench.gate.multiplicity import hommel, simes

RNG = np.random.default_rng(1)


def by_closed_testing(chances: Sequence[float], error: float) -> list[bool]:
    """What Simes' test calls real in every set that a difference belongs to, by going through all sets."""
    places = range(len(chances))
    accepted = [
        set(chosen)
        for size in range(1, len(chances) + 1)
        for chosen in combinations(places, size)
        if not simes([chances[place] for place in chosen], error)
    ]
    return [not any(place in chosen for chosen in accepted) for place in places]


def by_holm(chances: Sequence[float], error: float) -> list[bool]:
    called = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > error / (len(chances) - rank):
            break
        called[place] = True
    return called


@pytest.mark.parametrize("power", [1, 3, 6])
def test_calls_what_closed_testing_calls_and_all_that_holm_does(power: int) -> None:
    for _ in range(30):
        chances = (RNG.random(6) ** power).tolist()
        level = hommel(chances, 0.05)
        called = [chance <= level for chance in chances]
        assert called == by_closed_testing(chances, 0.05)
        assert all(own for own, holm in zip(called, by_holm(chances, 0.05), strict=True) if holm)


def test_level_of_one_is_the_error_itself() -> None:
    assert hommel([0.5], 0.05) == hommel([], 0.05) == 0.05


def test_level_of_many_is_shared() -> None:
    assert hommel(np.linspace(0.5, 1, 1_000).tolist(), 0.05) == pytest.approx(0.05 / 1_000)


def test_where_all_changed_each_may_be_called() -> None:
    assert hommel([0.04] * 500, 0.05) == 0.05


def test_many_moderate_chances_together_are_no_chance() -> None:
    assert simes([0.02] * 300 + [0.9] * 200, 0.05)
    assert not simes([0.02] * 3 + [0.9] * 497, 0.05)
    assert not simes([], 0.05)
