"""The control of one poison at a time: clean rows in the place of the poison."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape import _seeds
from gradshape.training import Adam, Recipe, Scoring
from gradshape_bench.case import Smoke, Task
from gradshape_bench.protocols import Counted, MultiPoison, OneShot
from gradshape_bench.targets import Targets
from tests.bench.protocols.aims_sample import (
    DATA,
    MOST,
    SMALL_START,
    Became,
    Copies,
    DropLast,
    KeepAll,
    Numbered,
    Run,
    case,
    measure,
    play,
    rows_of,
    small,
)
from tests.bench.protocols.single_targets.test_one_shot import ROWS, SHOTS, START, TARGETS, tries_of


def test_the_control_has_the_clean_rows_that_the_poison_was_made_from() -> None:
    played = play(case(SHOTS))
    bases = (DATA.test.y == 1).nonzero().squeeze(1)[:MOST].tolist()
    for row in ROWS[:3]:
        x = torch.cat([run.job.poison.x for run in played.controls if run.row == row and run.job.poison is not None])
        assert torch.equal(x, rows_of(DATA.test, bases))
    for run in played.controls:
        assert run.job.poison is not None
        assert run.job.poison.y.tolist() == [1]


def test_the_control_has_every_try_that_the_attack_may_have_however_soon_that_wins() -> None:
    played = play(case(SHOTS), lambda run: Became(not run.clean))
    assert [len(tries_of(played.attacks, row)) for row in ROWS[:3]] == [1, 1, 1]
    assert [tries_of(played.controls, row) for row in ROWS[:3]] == [[0] * MOST] * 3
    assert played.found.details["control_tries"] == 3 * MOST


def test_the_control_ends_when_it_wins() -> None:
    played = play(case(SHOTS), lambda run: Became(run.clean and run.row == ROWS[0]))
    assert played.values["success_rate_control"] == (1 / 3, 3)
    assert played.found.details["control_tries"] == 1 + 2 * MOST


@pytest.mark.parametrize("protocol", [SHOTS, MultiPoison(TARGETS, START)])
def test_controls_of_several_targets_with_the_same_rows_are_one_training(protocol: Any) -> None:
    played = play(case(protocol, seeds=(0, 1)))
    jobs = {id(run.job): run.job for run in played.controls}.values()
    assert len(jobs) == 2 * MOST
    for job in jobs:
        assert job.watch is not None
        assert len(job.watch) == 3
        # It goes on for the others when one target is won, whose accuracy then has to be known.
        assert job.intended is None
        assert job.scoring is Scoring.EVERY_EPOCH


def test_tries_with_the_same_clean_rows_are_chances_of_their_own() -> None:
    played = play(case(SHOTS, attack=Copies(4)))
    assert len({run.job.seed for run in played.controls}) == 4


def test_a_filter_that_knows_the_target_is_asked_for_the_control_of_each() -> None:
    played = play(case(SHOTS, defense=DropLast()))
    assert all(run.job.watch is not None and len(run.job.watch) == 1 for run in played.controls)
    assert len(played.controls) == 3 * MOST


@pytest.mark.parametrize("counted", Counted)
def test_controls_find_the_same_together_as_one_by_one(counted: Counted, tmp_path: Path) -> None:
    # Learnt so little that re-training alone turns some targets.
    hasty = Recipe("mlp1", Adam(0.02), batch_size=20, epochs=2)
    task = Task("digits", hasty, Smoke(train_rows=60))
    protocol = OneShot(Targets(8), SMALL_START, counted=counted, allowed=0.3)
    together = replace(small(protocol), task=task)
    one_by_one = replace(together, defense=KeepAll())
    shared, own = measure(tmp_path, together).details, measure(tmp_path, one_by_one).details
    assert 0 < shared["successes_control"] < shared["targets"]
    for name in ("successes_control", "control_tries"):
        assert shared[name] == own[name]


@pytest.mark.parametrize("candidates", [1, 4, 16])
@pytest.mark.parametrize("protocol", [SHOTS, MultiPoison(TARGETS, START), MultiPoison(TARGETS, START, at_once=8)])
def test_an_attack_that_does_what_clean_rows_do_wins_as_often_as_they(protocol: Any, candidates: int) -> None:
    def luck(run: Run) -> Became:
        draw = torch.rand((), generator=_seeds.stream(run.job.seed, run.row))
        return Became(bool(draw < 0.1))

    targets = Targets(20, (0, 1))
    many = case(replace(protocol, targets=targets), attack=Numbered(candidates), seeds=tuple(range(12)))
    played = play(many, luck)
    expected = 1 - 0.9**candidates
    for name in ("successes", "successes_control"):
        won, of = played.found.details[name], played.found.details["targets"]
        assert of == 240
        assert abs(won - expected * of) < 4 * math.sqrt(expected * (1 - expected) * of)
