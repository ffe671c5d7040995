"""A trained model is trained further, with and without poison: what is trained, and what is measured of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import BadNetsPatch, LabelFlip, NoAttack
from gradshape.data import Dataset, load
from gradshape.defenses import Defense, NoDefense
from gradshape.training import SGD, Adam, Fit, OptimizerState, Recipe, TrainingResult
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import (
    Accuracy,
    Backdoor,
    By,
    GradientDifferences,
    Lab,
    Measurement,
    Protocol,
    Retrain,
    Retrained,
    meaning,
)
from gradshape_bench.report.metric_definitions import METRICS
from tests.bench.protocols.aims_sample import CLIPPED, DATA, RECIPE, DropLast, Numbered, measure

FLIPS = LabelFlip(0.2)
START = Retrained(epochs=2, remembers=True)
VANILLA_STATE, BASE_STATE = ({"head.weight": torch.full((3, 5), value)} for value in (0.0, 1.0))
MEMORY = OptimizerState(12, ())
# Best and last test accuracies, epoch by epoch.
CURVES = {"vanilla": (0.8, 0.5), "base": (0.9, 0.7), "clean": (0.6, 0.4), "poisoned": (0.3, 0.2)}


def case(start: Retrained = START, *, defense: Defense = CLIPPED, protocol: Protocol | None = None) -> Case:
    task = Task("blobs", RECIPE)
    return Case(task, FLIPS, defense, scale=Scale.PAPER, seeds=(0, 1), protocol=protocol or Retrain(start))


def answer(job: AnyJob) -> Any:
    if isinstance(job, Craft):
        return job.attack(job.dataset, seed=job.seed)
    if isinstance(job, Filter):
        keep = torch.ones(len(job.dataset.train) + (0 if job.poison is None else len(job.poison)), dtype=torch.bool)
        keep[-1] = False
        return keep
    assert isinstance(job, Train)
    if job.initial is not None:
        kind = "clean" if job.poison is None else "poisoned"
    else:
        kind = "base" if job.keep_states else "vanilla"
    accuracy = torch.tensor(CURVES[kind], dtype=torch.float64)
    if kind != "base":
        return TrainingResult(accuracy)
    memory = MEMORY if job.keep_optimizer else None
    return TrainingResult(accuracy, last=VANILLA_STATE, best=BASE_STATE, best_optimizer=memory)


def play(chosen: Case, dataset: Dataset = DATA) -> tuple[list[Sequence[AnyJob]], Measurement]:
    """What the protocol asks for, in rounds, and what it finds."""
    running = chosen.protocol.run(chosen, Lab(chosen, dataset, "cpu"))
    rounds = [next(running)]
    while True:
        try:
            rounds.append(running.send([answer(job) for job in rounds[-1]]))
        except StopIteration as stop:
            return rounds, stop.value


def trainings(jobs: Sequence[AnyJob]) -> list[Train]:
    return [job for job in jobs if isinstance(job, Train)]


@pytest.mark.parametrize("again", By)
@pytest.mark.parametrize("base", By)
def test_the_combinations_of_table_3_train_what_they_say(base: By, again: By) -> None:
    of = {By.VANILLA: RECIPE, By.DEFENDED: CLIPPED.shape(RECIPE)}
    first, second = play(case(replace(START, base=base, again=again)))[0]
    assert [(job.recipe, job.seed) for job in trainings(first) if job.keep_states] == [(of[base], 0), (of[base], 1)]
    assert {job.recipe for job in trainings(second)} == {replace(of[again], epochs=2)}


def test_the_reference_is_vanilla_whatever_the_base_is() -> None:
    of_defended = trainings(play(case(replace(START, base=By.DEFENDED)))[0][0])
    assert [job.recipe for job in of_defended if not job.keep_states] == [RECIPE] * 2
    # A vanilla base is its own.
    assert len(trainings(play(case())[0][0])) == 2


def test_each_seed_is_trained_further_on_clean_rows_and_with_its_poison() -> None:
    first, second = play(case())[0]
    poisons = [job.attack(DATA, seed=job.seed).fingerprint for job in first if isinstance(job, Craft)]
    jobs = trainings(second)
    assert [None if job.poison is None else job.poison.fingerprint for job in jobs] == [None, None, *poisons]
    assert [job.seed for job in jobs[:2]] == [job.seed for job in jobs[2:]]
    # Noise and order are not those that the base was trained with.
    assert not {job.seed for job in jobs} & {job.seed for job in trainings(first)}


def test_training_goes_on_from_the_best_state_with_what_the_optimizer_remembered() -> None:
    first, second = play(case())[0]
    assert all(job.keep_optimizer for job in trainings(first))
    assert all(job.initial is BASE_STATE and job.initial_optimizer is MEMORY for job in trainings(second))
    first, second = play(case(replace(START, remembers=False)))[0]
    assert not any(job.keep_optimizer for job in trainings(first))
    assert all(job.initial is BASE_STATE and job.initial_optimizer is None for job in trainings(second))


@pytest.mark.parametrize(
    ("name", "best", "last"),
    [
        ("rad", (0.6 - 0.3) / 0.6, (0.4 - 0.2) / 0.4),
        ("utility_loss", (0.8 - 0.6) / 0.8, (0.5 - 0.4) / 0.5),
        ("rad_vs_vanilla", (0.8 - 0.3) / 0.8, (0.5 - 0.2) / 0.5),
        ("accuracy_vanilla", 0.8, 0.5),
        ("accuracy_clean", 0.6, 0.4),
        ("accuracy_poisoned", 0.3, 0.2),
    ],
)
@pytest.mark.parametrize("epoch", Accuracy)
def test_metrics_are_those_of_the_definitions(name: str, best: float, last: float, epoch: Accuracy) -> None:
    start = replace(START, base=By.DEFENDED)
    found = play(case(protocol=Retrain(start, epoch)))[1].metrics
    assert (found[f"{name}_best"].value, found[f"{name}_last"].value) == pytest.approx((best, last))
    assert found[name] == found[f"{name}_{epoch.value}"]
    assert found["accuracy_base"].value == 0.9
    assert {key.removesuffix("_best").removesuffix("_last") for key in found} <= METRICS.keys()
    assert {estimate.n for estimate in found.values()} == {2}


def test_a_filter_is_asked_for_every_training_and_knows_the_base() -> None:
    (_, asked, trained), found = play(case(defense=DropLast()))
    filters = [job for job in asked if isinstance(job, Filter)]
    assert [job.poison is not None for job in filters] == [False, False, True, True]
    for job, training in zip(filters, trainings(trained), strict=True):
        assert job.model is not None
        assert job.model.state is BASE_STATE
        assert job.recipe == training.recipe
        assert training.keep is not None
    rows = FLIPS.budget(len(DATA.train))
    assert found.metrics["poison_removed"].value == pytest.approx(1 / rows)
    assert (found.details["removed_poison"], found.details["removed_clean"]) == ([1, 1], [0, 0])


def test_details_say_what_was_combined_and_are_plain_values() -> None:
    details = play(case(replace(START, base=By.DEFENDED)))[1].details
    assert (details["base"], details["again"], details["optimizer_remembers"]) == ("defended", "defended", True)
    assert (details["epochs"], details["clean_epochs"], details["base_epochs"]) == (2, 3, [1, 1])
    assert details["poison_rows"] == [FLIPS.budget(len(DATA.train))] * 2
    assert json.loads(json.dumps(details)) == details


def test_no_attack_is_the_clean_training(tmp_path: Path) -> None:
    chosen = Case(
        Task("digits_38", Recipe("lr", Adam(0.02), batch_size=32, epochs=2)),
        NoAttack(),
        NoDefense(),
        scale=Scale.PAPER,
        seeds=(0, 1),
        protocol=Retrain(START),
    )
    assert measure(tmp_path, chosen).metrics["rad"].value == 0


def test_poison_harms_a_trained_model_and_the_same_seeds_give_the_same_numbers(tmp_path: Path) -> None:
    chosen = Case(
        Task("digits_38", Recipe("lr", Adam(0.05), batch_size=32, epochs=3)),
        LabelFlip(0.9),
        NoDefense(),
        scale=Scale.PAPER,
        seeds=(0, 1),
        protocol=Retrain(Retrained(epochs=6), Accuracy.LAST),
    )
    found = [measure(tmp_path / name, chosen).metrics for name in ("one", "other")]
    assert found[0]["rad"].value > 0.05
    assert found[0]["accuracy_base"].value > 0.9
    assert found[0] == found[1]


def test_labels_tell_the_options_apart_and_are_defined() -> None:
    starts = [Retrained(base=base, again=again) for base in By for again in By]
    labels = [Retrain(start).label for start in starts]
    assert len(set(labels)) == 4
    assert all(map(meaning, [*labels, Retrain(accuracy=Accuracy.LAST).label]))
    assert Retrain(START).label == "retrain_remembering"


def test_an_attack_on_single_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="'numbered_6' aims at single targets, and retrain_remembering has none: use"):
        play(replace(case(), attack=Numbered(6)))


def test_an_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="'logistic' is fitted by an estimator: retrain_remembering needs a recipe"):
        play(replace(case(), task=Task("blobs", Fit("logistic")), defense=NoDefense()))


def test_another_kind_of_optimizer_has_nothing_to_remember() -> None:
    with pytest.raises(ValueError, match="remembers=True"):
        play(case(replace(START, optimizer=SGD(0.1))))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"accuracy='best': expected one of Accuracy.BEST"):
        Retrain(accuracy="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("again", By)
@pytest.mark.parametrize("base", By)
@pytest.mark.parametrize("kind", [Backdoor, GradientDifferences])
def test_other_protocols_that_go_on_combine_the_same_recipes(kind: Any, base: By, again: By) -> None:
    protocol = kind(Retrained(epochs=2, base=base, again=again, remembers=True))
    task = Task("digits", RECIPE)
    chosen = Case(task, BadNetsPatch(3, fraction=0.05), CLIPPED, scale=Scale.PAPER, seeds=(0,), protocol=protocol)
    of = {By.VANILLA: RECIPE, By.DEFENDED: CLIPPED.shape(RECIPE)}
    running = protocol.run(chosen, Lab(chosen, load("digits").subset(train=60, test=60), "cpu"))
    first = next(running)
    second = running.send([answer(job) for job in first])
    assert {job.recipe for job in trainings(first) if job.keep_states} == {of[base]}
    assert {job.recipe for job in trainings(second)} == {replace(of[again], epochs=2)}
    assert all(job.initial is BASE_STATE and job.initial_optimizer is MEMORY for job in trainings(second))
