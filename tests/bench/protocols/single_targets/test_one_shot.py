"""One poison at a time: who is tried, when, and what counts, with made-up results of the trainings."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradshape.attacks import LabelFlip
from gradshape.training import Fit, Scoring
from gradshape_bench.case import Task
from gradshape_bench.jobs import Craft
from gradshape_bench.protocols import By, Counted, MultiPoison, OneShot, Retrained, meaning
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.targets import Targets, TooFewTargets, candidates
from tests.bench.protocols.aims_sample import (
    CLIPPED,
    DATA,
    MEMORY,
    MOST,
    RECIPE,
    STATE,
    Became,
    DropLast,
    Guessing,
    Numbered,
    Run,
    Together,
    case,
    play,
    rows_of,
    shot,
)

TARGETS = Targets(3, (0, 1))
START = Retrained(epochs=4, base=By.DEFENDED, again=By.DEFENDED, remembers=True)
SHOTS = OneShot(TARGETS, START)
ROWS = candidates(DATA, TARGETS).for_seed(0, 3).rows.tolist()


def tries_of(runs: list[Run], row: int) -> list[int]:
    """Numbers of the poison rows that were tried for a target."""
    return [run.rows[0] for run in runs if run.row == row]


def test_targets_are_the_first_rows_that_the_base_models_best_state_classifies_correctly() -> None:
    played = play(case(SHOTS), missed=2)
    assert sorted({run.row for run in played.attacks}) == sorted(ROWS[2:5])
    assert played.found.details["targets_misclassified"] == [2]


def test_all_that_is_left_is_attacked_where_the_base_misclassifies_many() -> None:
    played = play(case(SHOTS), missed=18)
    assert len(ROWS) == 20
    assert {run.row for run in played.attacks} == set(ROWS[18:])
    assert played.found.details["targets_misclassified"] == [18]
    assert played.values["success_rate"] == (0, 2)


def test_a_base_model_that_classifies_none_correctly_is_told() -> None:
    with pytest.raises(TooFewTargets, match="blobs: no base model classifies any of 20 rows correctly"):
        play(case(SHOTS), missed=99)


def test_a_target_without_poison_is_told_and_does_not_count() -> None:
    played = play(case(SHOTS, attack=Numbered(MOST, without=(1,)), seeds=(0, 1)))
    second = candidates(DATA, TARGETS).for_seed(1, 3).rows.tolist()
    assert {run.row for run in played.runs} == {ROWS[0], ROWS[2], second[0], second[2]}
    assert played.found.details["targets_without_poison"] == [1, 1]
    assert played.values["success_rate"] == played.values["success_rate_control"] == (0, 4)


def test_without_any_poison_nothing_is_known_of_its_success() -> None:
    played = play(case(SHOTS, attack=Numbered(MOST, without=(0, 1, 2))))
    assert played.runs == []
    for name in ("success_rate", "success_rate_raw", "success_rate_control"):
        rate = played.found.metrics[name]
        assert (rate.value, rate.low, rate.high, rate.n) == (0, 0, 1, 0)
    assert "rad_of_runs" not in played.found.metrics


def test_rows_are_tried_in_the_attacks_order_one_then_as_many_as_before() -> None:
    played = play(case(SHOTS))
    for row in ROWS[:3]:
        assert tries_of(played.attacks, row) == [0, 1, 2, 3, 4, 5]
    sizes = [sum(job.poison.aims is not None for job in jobs) for jobs in played.rounds[2:] if jobs]  # type: ignore[attr-defined]
    assert [size for size in sizes if size] == [3, 3, 6, 6]


@pytest.mark.parametrize(("winner", "tried"), [(0, 1), (1, 2), (2, 4), (3, 4), (5, 6)])
def test_no_round_begins_after_a_success(winner: int, tried: int) -> None:
    played = play(case(SHOTS), shot(winner))
    assert played.values["success_rate"] == (1, 3)
    assert [tries_of(played.attacks, row) for row in ROWS[:3]] == [list(range(tried))] * 3
    assert played.found.details["tries"] == 3 * (winner + 1)


def test_each_target_is_won_on_its_own() -> None:
    played = play(case(SHOTS), lambda run: Became(not run.clean and run.row == ROWS[1] and run.rows[0] == 1))
    assert played.values["success_rate"] == (1 / 3, 3)
    assert [len(tries_of(played.attacks, row)) for row in ROWS[:3]] == [6, 2, 6]
    assert played.found.details["winners"] == [[0, ROWS[1], 0, 1, 1, 4]]


def test_trials_name_the_row_and_the_intended_class_of_each_outcome() -> None:
    played = play(case(SHOTS), lambda run: Became(not run.clean and run.row == ROWS[1] and run.rows[0] == 1))
    assert played.found.details["trials"] == [[row, 1] for row in ROWS[:3]]
    assert played.found.metrics["success_rate"].values == (0.0, 1.0, 0.0)


def test_more_poisons_than_candidates_tries_those_that_there_are() -> None:
    played = play(case(SHOTS, attack=Numbered(1000)))
    assert played.found.details["candidates"] == [20] * 3
    assert tries_of(played.attacks, ROWS[0]) == list(range(20))


def test_a_success_that_costs_too_much_accuracy_is_a_raw_one_and_the_target_goes_on_being_tried() -> None:
    def fate(run: Run) -> Became:
        return Became(run.rows[0] in (0, 3), 0.9 if run.rows[0] == 0 else 0.96) if not run.clean else Became()

    played = play(case(SHOTS), fate)
    assert tries_of(played.attacks, ROWS[0]) == [0, 1, 2, 3]
    assert played.values["success_rate"] == (1, 3)
    assert played.found.details["winners"][0][4] == 3
    only_raw = play(case(SHOTS), lambda run: Became(True, 0.9))
    assert (only_raw.values["success_rate"], only_raw.values["success_rate_raw"]) == ((0, 3), (1, 3))
    assert len(only_raw.attacks) == 3 * MOST


@pytest.mark.parametrize(("accuracy", "rate"), [(0.75, 1), (0.74, 0)])
def test_the_allowed_drop_is_included(accuracy: float, rate: int) -> None:
    played = play(case(replace(SHOTS, allowed=0.25)), lambda run: Became(True, accuracy))
    assert played.found.metrics["success_rate"].value == rate


def test_what_the_control_wins_is_not_the_attacks() -> None:
    played = play(case(SHOTS), lambda run: Became(run.clean))
    assert (played.values["success_rate"], played.values["success_rate_control"]) == ((0, 3), (1, 3))


def test_a_training_ends_when_it_wins_unless_the_last_epoch_counts() -> None:
    jobs = [run.job for run in play(case(SHOTS)).attacks]
    assert all(job.intended is not None and job.intended.tolist() == [1] for job in jobs)
    last = play(case(replace(SHOTS, counted=Counted.LAST_EPOCH)))
    assert all(run.job.intended is None for run in last.runs)
    assert all(job.scoring is Scoring.AT_END for job in jobs)


def test_training_goes_on_from_the_best_state_with_what_the_optimizer_remembered() -> None:
    played = play(case(SHOTS))
    assert all(job.keep_optimizer for job in played.bases)
    assert all(run.job.initial is STATE and run.job.initial_optimizer is MEMORY for run in played.runs)
    afresh = play(case(replace(SHOTS, start=replace(START, remembers=False))))
    assert not any(job.keep_optimizer for job in afresh.bases)
    assert all(run.job.initial is STATE and run.job.initial_optimizer is None for run in afresh.runs)


@pytest.mark.parametrize("again", By)
@pytest.mark.parametrize("base", By)
def test_the_combinations_of_table_3_train_what_they_say(base: By, again: By) -> None:
    played = play(case(replace(SHOTS, start=replace(START, base=base, again=again)), defense=CLIPPED))
    of = {By.VANILLA: RECIPE, By.DEFENDED: CLIPPED.shape(RECIPE)}
    assert {job.recipe for job in played.bases} == {of[base]}
    assert {run.job.recipe for run in played.runs} == {replace(of[again], epochs=4)}
    assert (played.found.details["base"], played.found.details["again"]) == (base.value, again.value)
    vanilla = [job for job in played.trainings if job.initial is None and job.recipe == RECIPE]
    assert len(vanilla) == 1


def test_poison_is_crafted_on_the_base_models_best_state() -> None:
    [craft] = [job for jobs in play(case(SHOTS, defense=CLIPPED)).rounds for job in jobs if isinstance(job, Craft)]
    [network] = craft.networks
    assert network.state is STATE
    assert network.recipe == CLIPPED.shape(RECIPE)
    assert craft.target is not None
    assert torch.equal(craft.target.x, rows_of(DATA.test, ROWS[:3]))


def test_substitutes_are_trained_with_seeds_of_their_own() -> None:
    attack = Guessing(2, substitutes=(RECIPE, RECIPE))
    played = play(case(SHOTS, attack=attack, seeds=(0, 1)))
    victims = {job.seed for job in played.bases if job.watch is not None}
    theirs = [job.seed for job in played.bases if job.watch is None]
    assert len(set(theirs)) == len(theirs) == 4
    assert not victims & set(theirs)


def test_clean_rows_are_seen_in_one_order_by_all_of_a_seed_and_poison_at_places_of_its_own() -> None:
    played = play(case(SHOTS, seeds=(0, 1)))
    assert len({run.job.order_seed for run in played.runs}) == 2
    assert len({run.job.seed for run in played.runs}) == len({id(run.job) for run in played.runs})
    assert len({run.job.stack for run in played.attacks}) == len({run.job.stack for run in played.controls}) == 2


def test_a_filter_is_asked_for_every_training_and_knows_base_and_target() -> None:
    played = play(case(SHOTS, defense=DropLast()))
    assert len(played.filters) == len(played.runs)
    for asked, run in zip(played.filters, played.runs, strict=True):
        assert asked.model is not None
        assert asked.model.state is STATE
        assert asked.targets is not None
        assert torch.equal(asked.targets.x[0], DATA.test.x[run.row])
        assert asked.poison is run.job.poison
        assert asked.recipe == run.job.recipe
        assert run.job.keep is not None
    assert played.values["poison_removed"] == (1, 1)
    assert played.values["clean_removed"] == (0, 1)


def test_costs_are_told_by_what_was_done() -> None:
    timed = play(case(SHOTS, defense=DropLast())).found.timed
    assert {name: len(jobs) for name, jobs in timed.items()} == {
        "crafting": 1,
        "filtering": 3 * MOST,
        "training": 3 * MOST,
    }


def test_drops_of_runs_are_against_their_own_base() -> None:
    played = play(case(SHOTS, seeds=(0, 1)), lambda run: Became(False, 0.5 if run.clean else 0.8))
    assert played.found.metrics["rad_of_runs"].value == pytest.approx(0.2)
    assert played.found.metrics["rad_of_runs"].n == 2


def test_metrics_are_defined_and_details_are_plain_values() -> None:
    played = play(case(SHOTS, defense=DropLast()), shot(2))
    assert played.found.metrics.keys() <= METRICS.keys()
    assert json.loads(json.dumps(played.found.details)) == played.found.details


def test_rows_that_work_together_only_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'numbered_6': its rows work together only, .* use MultiPoison"):
        play(case(SHOTS, attack=Together(MOST)))


@pytest.mark.parametrize("protocol", [SHOTS, MultiPoison(TARGETS, START)])
def test_an_attack_without_targets_is_refused(protocol: Any) -> None:
    with pytest.raises(ValueError, match="'label_flip_10' does not aim at single targets: expected a TargetedAttack"):
        play(case(protocol, attack=LabelFlip(0.1)))


def test_an_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="'logistic' is fitted by an estimator"):
        play(replace(case(SHOTS), task=Task("blobs", Fit("logistic"))))


def test_labels_tell_what_is_not_the_papers() -> None:
    papers = OneShot(Targets(5))
    assert papers.label == "one_shot"
    labels = {
        replace(papers, targets=TARGETS).label,
        replace(papers, start=replace(papers.start, again=By.VANILLA)).label,
        replace(papers, start=replace(papers.start, remembers=False)).label,
        replace(papers, counted=Counted.LAST_EPOCH).label,
        replace(papers, allowed=0.1).label,
        replace(papers, allowed=1e6).label,
    }
    assert labels == {
        "one_shot_0to1",
        "one_shot_defended_to_vanilla",
        "one_shot_afresh",
        "one_shot_last_epoch",
        "one_shot_rad0.1",
        "one_shot_rad1e06",
    }
    assert all(meaning(label) for label in labels)


@pytest.mark.parametrize("values", [{"allowed": -0.1}, {"counted": "last_epoch"}, {"allowed": math.nan}])
def test_bad_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        OneShot(TARGETS, **values)
