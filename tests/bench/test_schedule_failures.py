"""Whom a case that cannot be run fails."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from gradshape import models
from gradshape.attacks import DictionaryAttack
from gradshape_bench.engines import EndedByCode, TimedOut
from gradshape_bench.jobs import AnyJob, Craft
from tests.bench.schedule_sample import FLIPS, GRID, RECIPE, TASK, Broken, case, refuse_clipped, scheduler
from tests.bench.spy import Spy


def test_case_that_cannot_be_trained_fails_when_it_is_asked_for(tmp_path: Path) -> None:
    running = scheduler(GRID, tmp_path, Spy(refuse=refuse_clipped))
    running.measure(GRID[0])
    with pytest.raises(RuntimeError, match="no clipping today"):
        running.measure(GRID[1])


def test_companion_whose_experiment_breaks_fails_no_other(tmp_path: Path) -> None:
    broken = replace(case(), protocol=Broken())
    running = scheduler([broken, *GRID], tmp_path)
    assert running.measure(GRID[0]).measurement.metrics
    with pytest.raises(RuntimeError, match="broken experiment"):
        running.measure(broken)


def test_case_whose_experiment_broke_fails_again_and_holds_up_no_other(tmp_path: Path) -> None:
    broken = replace(case(), protocol=Broken())
    running = scheduler([broken, *GRID], tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken experiment"):
            running.measure(broken)
    assert running.measure(GRID[0]).measurement.metrics


def test_companion_whose_attack_cannot_be_made_fails_no_other(tmp_path: Path) -> None:
    # It is refused only once it has seen the data.
    hopeless = case(DictionaryAttack(0.1))
    running = scheduler([hopeless, *GRID], tmp_path)
    assert running.measure(GRID[0]).measurement.metrics
    with pytest.raises(ValueError, match="dictionary_10 cannot be made on two_moons"):
        running.measure(hopeless)


def raises(error: BaseException) -> nn.Module:
    raise error


@pytest.mark.parametrize("error", [RuntimeError("no weights here"), SystemExit("no weights here")], ids=type)
def test_companion_whose_network_cannot_be_built_fails_no_other(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models._BUILDERS, "broken", lambda shape, classes: raises(error))
    broken = case(task=replace(TASK, recipe=replace(RECIPE, model="broken")))
    running = scheduler([broken, *GRID], tmp_path)
    assert running.measure(GRID[0]).measurement.metrics
    for _ in range(2):
        with pytest.raises((RuntimeError, EndedByCode), match="no weights here"):
            running.measure(broken)
    assert running.measure(GRID[1]).measurement.metrics


def test_a_job_that_was_lost_is_not_tried_again_for_the_next_case(tmp_path: Path) -> None:
    tried: list[AnyJob] = []

    def lose_flips(job: AnyJob) -> Exception | None:
        if not isinstance(job, Craft) or job.attack != FLIPS[0]:
            return None
        tried.append(job)
        return TimedOut("too long")

    running = scheduler(GRID, tmp_path, Spy(refuse=lose_flips))
    for each in GRID[:3]:
        assert each.attack == FLIPS[0]
        with pytest.raises(TimedOut, match="too long"):
            running.measure(each)
    assert len({job.key for job in tried}) == len(tried)
    assert running.measure(GRID[3]).measurement.metrics


def test_unknown_data_set_is_an_error_each_time(tmp_path: Path) -> None:
    lost = case(task=replace(TASK, dataset="two_mons"))
    running = scheduler([lost], tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="did you mean 'two_moons'"):
            running.measure(lost)
