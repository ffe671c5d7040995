import gc
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.speed.timing import Effort, Spread, ratios, take_turns

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


@given(times)
def test_quartiles_enclose_the_median_and_lie_within_the_values(values: list[float]) -> None:
    spread = Spread.of(values)
    assert min(values) <= spread.q1 <= spread.median <= spread.q3 <= max(values)
    assert spread.n == len(values)


@given(times, st.lists(st.floats(0.1, 10), min_size=20, max_size=20))
def test_ratio_of_paired_times_does_not_see_the_machine_drift(values: list[float], drift: list[float]) -> None:
    one = [2 * value * d for value, d in zip(values, drift, strict=False)]
    other = [value * d for value, d in zip(values, drift, strict=False)]
    spread = ratios(one, other)
    assert spread.q1 == pytest.approx(2)
    assert spread.q3 == pytest.approx(2)


def test_steps_take_turns_and_rounds_begin_with_another_each() -> None:
    order: list[str] = []

    def step(name: str) -> None:
        order.append(name)
        time.sleep(0.02)  # So that one call makes a turn.

    steps = {name: partial(step, name) for name in "abc"}
    seconds = take_turns(steps, Effort(seconds=0, least=3, most=3))
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    # The first call of every turn does not count.
    assert "".join(order[-18:]) == "aabbccbbccaaccaabb"


def test_number_of_rounds_is_bounded_both_ways() -> None:
    step = {"only": lambda: time.sleep(0.01)}
    assert len(take_turns(step, Effort(seconds=0, least=3, most=9))["only"]) == 3
    assert len(take_turns(step, Effort(seconds=60, least=1, most=2))["only"]) == 2


def test_collector_is_as_it_was_afterwards_even_after_an_error() -> None:
    def fail() -> None:
        assert not gc.isenabled()
        raise RuntimeError("the step")

    with pytest.raises(RuntimeError, match="the step"):
        take_turns({"fails": fail}, Effort(seconds=0, least=1, most=1))
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_device_is_waited_for_at_both_ends_of_every_turn() -> None:
    events: list[str] = []

    def step() -> None:
        events.append("step")
        time.sleep(0.02)

    take_turns({"only": step}, Effort(seconds=0, least=1, most=1), synchronize=lambda: events.append("wait"))
    # The steps of warming up and of one round.
    assert len(events) > 3
    assert events == ["step", "wait", "step", "wait"] * (len(events) // 4)


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2)])
def test_impossible_bounds_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="expected 1 <= least <= most"):
        Effort(seconds=1, least=least, most=most)
