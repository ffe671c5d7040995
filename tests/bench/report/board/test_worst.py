"""The worst of the attacks of one budget, from the records of the single attacks."""

import pytest

from gradshape.metrics import largest
from gradshape_bench.records.record import Record
from gradshape_bench.report.board.worst import attacks_by_budget, worst
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.leaderboard import render
from tests.bench.report.board.sample import measured, seeded

GRID = {("a_1", 10): (0.3, 0.1), ("b_1", 10): (0.2, 0.4), ("c_2", 20): (0.5, 0.6), ("a_0", 0): (0.9, 0.9)}


def records() -> list[Record]:
    return [
        measured(defense, value + 0.01, attack=attack, rows=rows)
        for (attack, rows), values in GRID.items()
        for defense, value in zip(("vanilla", "dp_adam_c4"), values, strict=True)
    ]


def group() -> RecordGroup:
    [found] = RecordGroup.of(records())
    return found


def test_attacks_are_gathered_by_budget_without_those_that_add_nothing() -> None:
    assert attacks_by_budget(group()) == {10: ["a_1", "b_1"], 20: ["c_2"]}


@pytest.mark.parametrize(("defense", "attack", "value"), [("vanilla", "a_1", 0.3), ("dp_adam_c4", "b_1", 0.4)])
def test_the_worst_is_the_largest_and_its_interval_is_that_of_the_protocol(
    defense: str, attack: str, value: float
) -> None:
    found = worst(group(), ["a_1", "b_1"], defense)
    assert found is not None
    assert (found.attack, found.run) == (attack, 2)
    place = ("vanilla", "dp_adam_c4").index(defense)
    expected = largest([seeded(values[place]) for (name, _), values in GRID.items() if name in ("a_1", "b_1")])
    assert (found.damage.value, found.damage.low, found.damage.high) == pytest.approx(
        (value, expected.low, expected.high)
    )


def test_of_attacks_that_were_not_run_it_says_how_many_were() -> None:
    page = render([record for record in records() if (record.attack, record.defense) != ("b_1", "dp_adam_c4")])[
        "leaderboard/smoke-digits-lr.md"
    ]
    part = page[page.index("### Worst case") :]
    line = next(line for line in part.splitlines() if line.startswith("| 10 ("))
    assert "a_1, 1 of 2 run" in line


def test_nothing_measured_is_no_worst_case() -> None:
    assert worst(group(), ["z_1"], "vanilla") is None
