"""One poison at a time, with real trainings."""

from dataclasses import replace
from pathlib import Path

import pytest

from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip, Noise
from gradshape_bench.protocols import Counted, Measurement, OneShot
from tests.bench.protocols.aims_sample import (
    SMALL_START,
    SMALL_TARGETS,
    measure,
    small,
)

REAL = small(OneShot(SMALL_TARGETS, SMALL_START))


def same(one: Measurement, other: Measurement) -> bool:
    return (one.metrics, one.details) == (other.metrics, other.details)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measure(tmp_path_factory.mktemp("alone"), REAL)


def test_a_copy_of_the_target_can_win_and_clean_rows_do_not(alone: Measurement) -> None:
    assert alone.metrics["success_rate"].value > 0
    assert alone.metrics["success_rate_control"].value == 0


def test_the_same_seeds_give_the_same_numbers(alone: Measurement, tmp_path: Path) -> None:
    assert same(measure(tmp_path, REAL), alone)


def test_other_cases_beside_it_change_nothing(alone: Measurement, tmp_path: Path) -> None:
    clipped = replace(REAL, defense=GradientShaping(Clip(0.1) | Noise(0.1)))
    more = replace(REAL, seeds=(2, 1, 0))
    assert same(measure(tmp_path, REAL, clipped, more), alone)


def test_it_does_not_matter_how_many_workers_share_the_trainings(alone: Measurement, tmp_path: Path) -> None:
    # So many that they are shared.
    assert alone.details["tries"] >= 16
    assert same(measure(tmp_path, REAL, workers=2), alone)


def test_the_optimizers_memory_matters(alone: Measurement, tmp_path: Path) -> None:
    afresh = small(OneShot(SMALL_TARGETS, replace(SMALL_START, remembers=False)))
    assert measure(tmp_path, afresh).metrics["rad_of_runs"] != alone.metrics["rad_of_runs"]


def test_if_the_last_epoch_counts_no_success_is_earlier(alone: Measurement, tmp_path: Path) -> None:
    last = measure(tmp_path, small(OneShot(SMALL_TARGETS, SMALL_START, counted=Counted.LAST_EPOCH)))
    assert {winner[-1] for winner in last.details["winners"]} <= {6}
    assert min(winner[-1] for winner in alone.details["winners"]) < 6
    # Who wins at the end has won in some epoch.
    assert last.metrics["success_rate_raw"].value <= alone.metrics["success_rate_raw"].value
