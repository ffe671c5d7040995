"""More and more poison together: which prefixes are tried, and which one counts. With made-up results of trainings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip
from gradshape_bench.protocols import By, Measurement, MultiPoison, Retrained
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.targets import Targets, candidates
from tests.bench.protocols.aims_sample import (
    CLIPPED,
    DATA,
    MOST,
    RECIPE,
    SMALL_START,
    SMALL_TARGETS,
    Became,
    DropLast,
    Numbered,
    Play,
    Run,
    Together,
    case,
    measure,
    play,
    rows_of,
    small,
    won_by,
)

TARGETS = Targets(3, (0, 1))
START = Retrained(epochs=4, base=By.DEFENDED, again=By.DEFENDED, remembers=True)
MULTI = MultiPoison(TARGETS, START)
ROWS = candidates(DATA, TARGETS).for_seed(0, 3).rows.tolist()


def sizes_of(played: Play, row: int) -> list[int]:
    """Of the prefixes that were tried for a target."""
    return [len(run.rows) for run in played.attacks if run.row == row]


def needed(played: Play) -> list[int | None]:
    """By each target."""
    return [entry[-1] for entry in played.found.details["needed"]]


def test_prefixes_are_the_first_rows_of_the_attack() -> None:
    played = play(case(MULTI))
    assert all(run.rows == tuple(range(len(run.rows))) for run in played.attacks)
    assert [sizes_of(played, row) for row in ROWS[:3]] == [list(range(1, MOST + 1))] * 3


@pytest.mark.parametrize(
    ("at_once", "winner", "tried"), [(2, 1, 2), (2, 2, 2), (2, 3, 4), (2, 5, 6), (1, 1, 1), (1, 2, 2), (6, 1, 6)]
)
def test_no_round_begins_after_a_success(at_once: int, winner: int, tried: int) -> None:
    played = play(case(replace(MULTI, at_once=at_once)), won_by(winner))
    assert sizes_of(played, ROWS[0]) == list(range(1, tried + 1))
    assert needed(played) == [winner] * 3
    assert played.found.metrics["poisons_needed"].value == winner


@pytest.mark.parametrize("winners", [(1, 2), (1,), (1, 3), (3, 4), (3,), (4,)])
def test_the_smallest_prefix_counts_though_more_poison_need_not_do_more(winners: tuple[int, ...]) -> None:
    played = play(case(MULTI), won_by(*winners))
    assert needed(played) == [min(winners)] * 3
    assert played.values["success_rate"] == (1, 3)


def test_poisons_needed_is_the_mean_over_the_targets_that_are_won() -> None:
    numbers = {ROWS[0]: 1, ROWS[1]: 4, ROWS[2]: 99}
    played = play(case(MULTI), lambda run: Became(not run.clean and len(run.rows) >= numbers[run.row]))
    assert needed(played) == [1, 4, None]
    assert played.values["poisons_needed"] == (2.5, 2)
    assert played.values["success_rate"] == (2 / 3, 3)


def test_if_no_target_is_won_it_is_not_known_how_many_are_needed() -> None:
    played = play(case(MULTI))
    assert "poisons_needed" not in played.found.metrics
    assert needed(played) == [None] * 3


def test_a_success_that_costs_too_much_accuracy_is_a_raw_one_and_more_poison_is_tried() -> None:
    def fate(run: Run) -> Became:
        return Became(not run.clean and len(run.rows) in (1, 4), 0.9 if len(run.rows) == 1 else 1.0)

    played = play(case(MULTI), fate)
    assert needed(played) == [4] * 3
    assert sizes_of(played, ROWS[0]) == [1, 2, 3, 4]
    only_raw = play(case(MULTI), lambda run: Became(not run.clean, 0.9))
    assert (only_raw.values["success_rate"], only_raw.values["success_rate_raw"]) == ((0, 3), (1, 3))


def test_the_control_has_all_prefixes_of_the_clean_rows() -> None:
    numbers = {ROWS[0]: 1, ROWS[1]: 4, ROWS[2]: 99}
    played = play(case(MULTI), lambda run: Became(not run.clean and len(run.rows) >= numbers[run.row]))
    for row in ROWS[:3]:
        assert [len(run.rows) for run in played.controls if run.row == row] == list(range(1, MOST + 1))
    bases = (DATA.test.y == 1).nonzero().squeeze(1).tolist()
    for run in played.controls:
        assert run.job.poison is not None
        assert torch.equal(run.job.poison.x, rows_of(DATA.test, bases[: len(run.rows)]))
    assert played.values["success_rate_control"] == (0, 3)


@pytest.mark.parametrize("winner", [1, 2, 3])
def test_how_many_prefixes_run_at_once_changes_no_number(winner: int) -> None:
    def fate(run: Run) -> Became:
        return Became(len(run.rows) >= winner + run.clean, 0.96 + 0.001 * len(run.rows))

    found = [play(case(replace(MULTI, at_once=at_once)), fate).found for at_once in (1, 2, 6)]
    assert all((one.metrics, one.details) == (found[0].metrics, found[0].details) for one in found)


def test_rows_that_work_together_only_are_one_prefix() -> None:
    played = play(case(MULTI, attack=Together(MOST)), won_by(MOST))
    assert [sizes_of(played, row) for row in ROWS[:3]] == [[MOST]] * 3
    assert needed(played) == [MOST] * 3


def test_more_poisons_than_candidates_uses_those_that_there_are() -> None:
    played = play(case(MULTI, attack=Numbered(1000)))
    assert sizes_of(played, ROWS[0]) == list(range(1, 21))
    assert [entry[-2] for entry in played.found.details["needed"]] == [20] * 3


def test_targets_without_poison_and_misclassified_rows_are_told_and_do_not_count() -> None:
    played = play(case(MULTI, attack=Numbered(MOST, without=(1,))), missed=2)
    assert {run.row for run in played.runs} == {ROWS[2], ROWS[4]}
    assert played.values["success_rate"] == (0, 2)
    details = played.found.details
    assert (details["targets_misclassified"], details["targets_without_poison"]) == ([2], [1])


def test_without_any_poison_nothing_is_known_of_its_success() -> None:
    played = play(case(MULTI, attack=Numbered(MOST, without=(0, 1, 2))))
    assert played.runs == []
    rate = played.found.metrics["success_rate"]
    assert (rate.value, rate.low, rate.high, rate.n) == (0, 0, 1, 0)


@pytest.mark.parametrize("again", By)
@pytest.mark.parametrize("base", By)
def test_the_combinations_of_table_3_train_what_they_say(base: By, again: By) -> None:
    played = play(case(replace(MULTI, start=replace(START, base=base, again=again)), defense=CLIPPED))
    of = {By.VANILLA: RECIPE, By.DEFENDED: CLIPPED.shape(RECIPE)}
    assert {job.recipe for job in played.bases} == {of[base]}
    assert {run.job.recipe for run in played.runs} == {replace(of[again], epochs=4)}


def test_a_filter_is_asked_for_every_training_with_its_poison() -> None:
    played = play(case(MULTI, defense=DropLast()))
    for asked, run in zip(played.filters, played.runs, strict=True):
        assert asked.poison is run.job.poison
        assert asked.model is not None
    # Of a prefix of n rows one is dropped.
    assert played.found.metrics["poison_removed"].value == pytest.approx(sum(1 / n for n in range(1, 7)) / 6)


def test_metrics_are_defined_and_details_are_plain_values() -> None:
    played = play(case(MULTI, defense=DropLast()), won_by(3))
    assert played.found.metrics.keys() <= METRICS.keys()
    assert json.loads(json.dumps(played.found.details)) == played.found.details


@pytest.mark.parametrize("values", [{"allowed": -0.1}, {"at_once": 0}])
def test_bad_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        MultiPoison(TARGETS, **values)


REAL = small(MultiPoison(SMALL_TARGETS, SMALL_START))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measure(tmp_path_factory.mktemp("alone"), REAL)


def test_copies_of_the_target_win_and_clean_rows_in_their_place_do_not(alone: Measurement) -> None:
    assert alone.metrics["success_rate_raw"].value > 0.5
    assert alone.metrics["poisons_needed"].value > 1
    assert alone.metrics["success_rate_control"].value == 0


def test_neither_workers_nor_other_cases_change_a_number(alone: Measurement, tmp_path: Path) -> None:
    other = replace(REAL, defense=GradientShaping(Clip(0.1)))
    again = measure(tmp_path, REAL, other, workers=2)
    assert (again.metrics, again.details) == (alone.metrics, alone.details)
