"""The gradient of a single poison row in a re-training, beside those of the clean rows of its batch."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape.analysis import gradient_differences, mean_over_epochs, spread_over_epochs
from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, PerfectFilter
from gradshape.shaping import Clip
from gradshape.training import GradientProbe, Layers, Scoring, Weighting, train_victims
from gradshape_bench.case import Case
from gradshape_bench.jobs import Train
from gradshape_bench.protocols import By, Counted, Measurement, OneShot, OneShotGradients, meaning
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.report.plots.series import series
from gradshape_bench.targets import Targets
from tests.bench.protocols.aims_sample import (
    CLIPPED,
    SMALL_START,
    SMALL_TARGETS,
    Numbered,
    Together,
    case,
    measure,
    play,
    small,
)
from tests.bench.sample import make
from tests.bench.spy import Spy, measured

GRADIENTS = OneShotGradients(SMALL_TARGETS, SMALL_START)
REAL = small(GRADIENTS)
SHAPED = small(GRADIENTS, GradientShaping(Clip(0.1)))


Jobs = dict[str, list[Train]]


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    """The re-trainings with poison, in the order of the targets, of the fixtures below."""
    return {}


@pytest.fixture(scope="module")
def vanilla(tmp_path_factory: pytest.TempPathFactory, jobs: Jobs) -> Measurement:
    return watched(tmp_path_factory.mktemp("vanilla"), REAL, jobs.setdefault("vanilla", []))


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory, jobs: Jobs) -> Measurement:
    return watched(tmp_path_factory.mktemp("shaped"), SHAPED, jobs.setdefault("shaped", []))


def watched(folder: Path, case: Case, jobs: list[Train]) -> Measurement:
    engine = Spy()
    found = measured(folder, case, engine=engine)
    jobs += [job for bundle in engine.bundles for job in bundle if isinstance(job, Train) and job.probe is not None]
    return found


def test_a_training_is_the_one_that_one_shot_tries_first(vanilla: Measurement, tmp_path: Path) -> None:
    # With a probe it is trained alone and to its end.
    one_shot = measure(tmp_path, small(OneShot(SMALL_TARGETS, SMALL_START)))
    firsts = {(seed, row): epoch for seed, row, _, _, place, epoch in one_shot.details["winners"] if place == 0}
    won = {(one["seed"], one["row"]): one["epoch"] for one in vanilla.details["outcomes"] if one["won"]}
    assert won == firsts
    assert won


def test_all_epochs_are_measured_though_the_target_is_won(vanilla: Measurement) -> None:
    assert min(one["epoch"] for one in vanilla.details["outcomes"] if one["won"]) < 6
    curves = vanilla.details["series"]
    assert {len(points) for curve in curves.values() for points in curve.values()} == {6}


def test_what_became_of_every_target_is_told(vanilla: Measurement) -> None:
    outcomes = vanilla.details["outcomes"]
    assert len(outcomes) == vanilla.metrics["success_rate"].n == 6
    assert sum(one["won"] for one in outcomes) == vanilla.details["successes"]
    assert vanilla.metrics["success_rate"].value == vanilla.details["successes"] / 6
    assert {(one["class"], one["intended"]) for one in outcomes} == {(0, 1)}


def test_a_metric_is_the_mean_over_targets_then_over_seeds(vanilla: Measurement) -> None:
    for name in ("magnitude_ratio", "cosine_similarity", "cosine_similarity_spread"):
        of_seeds = [
            mean_over_epochs(one[name] for one in vanilla.details["outcomes"] if one["seed"] == seed) for seed in (0, 1)
        ]
        assert vanilla.metrics[name].value == pytest.approx(mean_over_epochs(of_seeds), rel=1e-4)
        assert vanilla.metrics[name].n == 2


def test_a_series_has_a_value_and_an_interval_over_seeds(vanilla: Measurement) -> None:
    for curve in vanilla.details["series"].values():
        for low, value, high in zip(curve["low"], curve["value"], curve["high"], strict=True):
            assert value is None or low is None or low <= value <= high


def test_a_record_has_the_series_that_plots_draw(vanilla: Measurement) -> None:
    record = make(metrics=dict(vanilla.metrics), details=vanilla.details, thresholds=())
    for name in ("magnitude_ratio", "cosine_similarity", "placebo_magnitude_ratio"):
        assert len(series(record, name)) == 6


def test_clipping_bounds_the_poison_as_it_enters_the_update(vanilla: Measurement, shaped: Measurement) -> None:
    found = shaped.metrics
    assert found["magnitude_ratio"].value < found["magnitude_ratio_raw"].value / 2
    assert vanilla.metrics["magnitude_ratio"] == vanilla.metrics["magnitude_ratio_raw"]


def test_a_placebo_pulls_with_the_others_more_than_poison_does(vanilla: Measurement) -> None:
    found = vanilla.metrics
    assert found["placebo_cosine_similarity"].value > found["cosine_similarity"].value
    assert found["placebo_magnitude_ratio"].value < found["magnitude_ratio"].value


def test_gradients_are_of_all_parameters_in_the_batches_that_the_poison_is_in(shaped: Measurement, jobs: Jobs) -> None:
    of_jobs = []
    for job in jobs["shaped"]:
        assert job.probe == GradientProbe(Layers.ALL)
        [result] = train_victims(job.dataset, [job.victim])
        assert result.gradients is not None
        of_jobs.append(
            gradient_differences(
                result.gradients, shaped=True, weighting=Weighting.SHARED, layers=Layers.ALL, bias=True
            )
        )
    for one, differences in zip(shaped.details["outcomes"], of_jobs, strict=True):
        assert one["magnitude_ratio"] == pytest.approx(mean_over_epochs(differences.ratio), rel=1e-4)
        assert one["cosine_similarity"] == pytest.approx(mean_over_epochs(differences.cosine), rel=1e-4, abs=1e-6)
        spread = spread_over_epochs(differences.cosine)
        assert one["cosine_similarity_spread"] == pytest.approx(spread, rel=1e-4)


@pytest.mark.usefixtures("vanilla")
def test_trainings_go_on_to_their_end_and_are_scored_every_epoch(jobs: Jobs) -> None:
    for job in jobs["vanilla"]:
        assert (job.intended, job.scoring, job.recipe.epochs) == (None, Scoring.EVERY_EPOCH, 6)


def test_poison_that_a_filter_removes_has_no_gradients(tmp_path: Path) -> None:
    found = measure(tmp_path, small(GRADIENTS, PerfectFilter()))
    assert found.metrics["poison_removed"].value == 1
    assert found.details["series"]["magnitude_ratio"]["value"] == [None] * 6
    assert "magnitude_ratio" not in found.metrics
    assert found.metrics["sample_norm_clean"].value > 0
    assert {one["magnitude_ratio"] for one in found.details["outcomes"]} == {None}


def test_the_same_seeds_give_the_same_numbers_beside_other_cases(vanilla: Measurement, tmp_path: Path) -> None:
    again = measure(tmp_path, REAL, SHAPED, small(OneShot(SMALL_TARGETS, SMALL_START)), workers=2)
    assert (again.metrics, again.details) == (vanilla.metrics, vanilla.details)


def test_metrics_are_defined_and_details_are_plain_values(vanilla: Measurement) -> None:
    assert {name for name in vanilla.metrics if not name.endswith("_epoch")} <= METRICS.keys()
    assert json.loads(json.dumps(vanilla.details)) == vanilla.details


def test_without_any_poison_there_is_nothing_to_measure() -> None:
    played = play(case(OneShotGradients(Targets(3, (0, 1)), SMALL_START), attack=Numbered(2, without=(0, 1, 2))))
    rate = played.found.metrics["success_rate"]
    assert (rate.value, rate.low, rate.high, rate.n) == (0, 0, 1, 0)
    assert "magnitude_ratio" not in played.found.metrics
    assert (played.found.details["series"], played.found.details["outcomes"]) == ({}, [])


def test_beside_it_is_the_control_which_is_not_measured(vanilla: Measurement, jobs: Jobs) -> None:
    assert vanilla.metrics["success_rate_control"].n == 6
    assert vanilla.metrics["success_rate_control"].value == 0
    assert len(jobs["vanilla"]) == 6


def test_what_is_no_one_shot_attack_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'numbered_2': its rows work together only, .* use MultiPoison"):
        play(case(GRADIENTS, attack=Together(2)))
    with pytest.raises(ValueError, match="'label_flip_10' does not aim at single targets"):
        play(case(GRADIENTS, attack=LabelFlip(0.1), defense=CLIPPED))


def test_labels_tell_the_options_apart_and_are_defined() -> None:
    papers = OneShotGradients(Targets(5))
    assert papers.label == "gradients_one_shot"
    assert meaning(papers.label)
    assert GRADIENTS.label == "gradients_one_shot_0to1"
    assert replace(papers, counted=Counted.LAST_EPOCH).label == "gradients_one_shot_last_epoch"
    assert replace(papers, start=replace(papers.start, base=By.VANILLA)).label == (
        "gradients_one_shot_vanilla_to_defended"
    )


@pytest.mark.parametrize("allowed", [-0.1, math.nan])
def test_bad_settings_are_refused(allowed: float) -> None:
    with pytest.raises(ValueError, match="allowed"):
        OneShotGradients(SMALL_TARGETS, allowed=allowed)
