"""Which jobs are done for which case; an engine that counts stands in for the real one and hands on to it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.case import Scale, by_id
from gradshape_bench.engines import Bundle, Done
from gradshape_bench.jobs import Craft, Finished, Heartbeat
from gradshape_bench.protocols.from_scratch import FromScratch
from tests.bench.schedule_sample import (
    FLIPS,
    GRID,
    RECIPE,
    SEEDS,
    TASK,
    case,
    metrics,
    refuse_clipped,
    scheduler,
)
from tests.bench.spy import Spy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spy, dict[str, Any]]:
    """Cache, engine and metrics of all cases of the grid."""
    folder, engine = tmp_path_factory.mktemp("whole"), Spy()
    running = scheduler(GRID, folder, engine)
    return folder, engine, {case.id: running.measure(case).measurement.metrics for case in GRID}


def test_every_job_is_done_once(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    keys = whole[1].keys
    assert len(keys) == len(set(keys))


def test_clean_references_are_shared(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    # By recipe and seed; of the intensities only the poisoned victims are their own.
    clean = [job for job in whole[1].trained if job.poison is None or not len(job.poison)]
    assert len(clean) == 3 * len(SEEDS)
    assert len(whole[1].trained) == len(clean) + 2 * 3 * len(SEEDS)


def test_poison_is_shared_between_defences(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    crafted = [job for job in whole[1].done if isinstance(job, Craft)]
    assert len(crafted) == len(FLIPS) * len(SEEDS)


def test_one_case_alone_trains_only_what_it_needs(tmp_path: Path) -> None:
    engine = Spy()
    scheduler([case()], tmp_path, engine).measure(case())
    assert [job.recipe for job in engine.trained] == [TASK.recipe] * 4


def test_one_case_of_many_trains_no_other_intensity(tmp_path: Path) -> None:
    engine = Spy()
    scheduler(GRID, tmp_path, engine).measure(GRID[0])
    assert {job.attack for job in engine.done if isinstance(job, Craft)} == {FLIPS[0]}
    rows = {len(job.poison) for job in engine.trained if job.poison is not None}
    assert rows == {FLIPS[0].budget(700)}


def test_cases_that_share_its_stacks_are_trained_beside_it(tmp_path: Path) -> None:
    engine = Spy()
    scheduler(GRID, tmp_path, engine).measure(GRID[0])
    assert {job.recipe for job in engine.trained if job.poison is not None} == {case.recipe for case in GRID[:3]}


def test_one_case_of_many_crafts_and_trains_nothing_on_other_data(tmp_path: Path) -> None:
    engine = Spy()
    other = case(task=replace(TASK, dataset="digits_38"))
    scheduler([other, case()], tmp_path, engine).measure(case())
    assert {job.dataset.name for job in engine.done} == {"two_moons"}


def test_finished_jobs_are_not_done_again(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    folder, _, found = whole
    engine = Spy()
    running = scheduler(GRID, folder, engine)
    assert {case.id: running.measure(case).measurement.metrics for case in GRID} == found
    assert engine.done == []


def test_asking_twice_does_nothing_more(tmp_path: Path) -> None:
    engine = Spy()
    running = scheduler(GRID, tmp_path, engine)
    first = running.measure(GRID[0])
    before = len(engine.done)
    assert running.measure(GRID[0]) == first
    assert len(engine.done) == before


@pytest.mark.parametrize("limit", [1, 5, 7])
def test_interrupted_run_continues_where_it_stopped(
    limit: int, whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    interrupted, rest = Spy(limit=limit), Spy()
    with pytest.raises(KeyboardInterrupt):
        scheduler(GRID, tmp_path, interrupted).measure(GRID[0])
    running = scheduler(GRID, tmp_path, rest)
    assert {case.id: running.measure(case).measurement.metrics for case in GRID} == whole[2]
    assert sorted(interrupted.keys + rest.keys) == sorted(whole[1].keys)


def test_case_is_the_same_alone(whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path) -> None:
    chosen = GRID[4]
    assert metrics([chosen], tmp_path)[chosen.id] == whole[2][chosen.id]


def test_cases_are_the_same_in_reversed_order(whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path) -> None:
    assert metrics(GRID[::-1], tmp_path) == whole[2]


def test_cases_are_the_same_with_more_seeds_beside_them(
    whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    chosen = GRID[0]
    more = [replace(case, seeds=(2, 1, 0)) for case in GRID]
    assert metrics([*more, chosen], tmp_path, [chosen])[chosen.id] == whole[2][chosen.id]


def test_companion_that_cannot_be_trained_fails_no_other(
    whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    outcome = scheduler(GRID, tmp_path, Spy(refuse=refuse_clipped)).measure(GRID[0])
    assert outcome.measurement.metrics == whole[2][GRID[0].id]


def test_cases_of_two_data_sets_may_be_asked_for_in_turns(tmp_path: Path) -> None:
    engine = Spy()
    digits = [case(flip, task=replace(TASK, dataset="digits_38")) for flip in FLIPS]
    moons = [case(flip) for flip in FLIPS]
    running = scheduler([*digits, *moons], tmp_path, engine)
    for pair in zip(digits, moons, strict=True):
        for each in pair:
            running.measure(each)
    assert len(engine.keys) == len(set(engine.keys))


def test_seconds_are_those_of_the_jobs(tmp_path: Path) -> None:
    first = scheduler([case()], tmp_path).measure(case()).seconds
    assert first > 0
    assert scheduler([case()], tmp_path).measure(case()).seconds == pytest.approx(first)


def test_cases_are_found_by_scale_and_id() -> None:
    small, large = case(), replace(case(), scale=Scale.PAPER)
    assert by_id([small, large]) == {("smoke", small.id): small, ("paper", large.id): large}


def test_two_cases_of_one_id_are_refused() -> None:
    longer = case(task=replace(TASK, recipe=replace(RECIPE, epochs=3)))
    with pytest.raises(ValueError, match=f"two different cases are called '{longer.id}': give one of their tasks"):
        by_id([case(), longer])


def test_equal_cases_are_one() -> None:
    assert len(by_id([case(), replace(case(), protocol=FromScratch())])) == 1


class Keeping(Spy):
    """Says of everything that it is in the cache."""

    def perform(self, bundle: Bundle, heartbeat: Heartbeat) -> Iterator[Done]:
        for job, became in super().perform(bundle, heartbeat):
            assert isinstance(became, Finished)
            yield job, replace(became, kept=True)


def test_what_an_engine_has_kept_is_not_stored_again(tmp_path: Path) -> None:
    running = scheduler(GRID[:1], tmp_path, Keeping())
    running.measure(GRID[0])
    assert not list(tmp_path.glob("*/*.job"))
