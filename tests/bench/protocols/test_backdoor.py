from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import BadNetsPatch, LabelFlip, stamp
from gradshape.data import Dataset, Split, load
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import SGD, Adam, Fit, Recipe, TrainingResult
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import Accuracy, Backdoor, Lab, Measurement, Retrained, Scratch, meaning
from gradshape_bench.report.headline import damage, judged
from gradshape_bench.report.metric_definitions import METRICS
from tests.bench.protocols.test_from_scratch import DropFirst
from tests.bench.sample import make
from tests.bench.spy import measured

DIGITS = load("digits")
PATCH = BadNetsPatch(3, fraction=0.05)
RECIPE = Recipe("lr", Adam(0.05), batch_size=50, epochs=3)
CLIPPED = GradientShaping(Clip(1))
CASE = Case(Task("digits", RECIPE), PATCH, CLIPPED, scale=Scale.PAPER, seeds=(0, 1), protocol=Backdoor(rows=4))
STATE = {"head.weight": torch.zeros(2)}


# After the three epochs, the second of which is the best: test accuracy, and how many of 4 watched rows are let in.
CURVES = {"vanilla": (0.6, 0.8, 0.5), "clean": (0.5, 0.6, 0.4), "poisoned": (0.2, 0.3, 0.2)}
LET_IN = {"clean": (0, 1, 0), "poisoned": (1, 3, 4)}


def kind(job: Train, case: Case) -> str:
    if job.poison is not None and len(job.poison):
        return "poisoned"
    return "vanilla" if job.watch is None else "clean"


def answer(job: AnyJob, case: Case) -> Any:
    """The result of a job, made up."""
    if isinstance(job, Craft):
        return case.attack(DIGITS, seed=job.seed)
    if isinstance(job, Filter):
        keep = torch.ones(len(DIGITS.train) + (0 if job.poison is None else len(job.poison)), dtype=torch.bool)
        keep[0] = keep[-1] = False
        return keep
    assert isinstance(job, Train)
    name = kind(job, case)
    predictions = None
    if job.watch is not None:
        taken = torch.tensor(LET_IN[name]).unsqueeze(1)
        predictions = torch.where(torch.arange(len(job.watch)) < taken, PATCH.claimed, job.watch.y)
    accuracy = torch.tensor(CURVES[name], dtype=torch.float64)
    return TrainingResult(accuracy, predictions=predictions, best=STATE if job.keep_states else None)


def experiment(case: Case = CASE, dataset: Dataset = DIGITS) -> tuple[list[Sequence[AnyJob]], Measurement]:
    """What the protocol asks for, in rounds, and what it finds."""
    running = case.protocol.run(case, Lab(case, dataset, "cpu"))
    rounds = [next(running)]
    while True:
        try:
            rounds.append(running.send([answer(job, case) for job in rounds[-1]]))
        except StopIteration as stop:
            return rounds, stop.value


def trainings(jobs: Sequence[AnyJob]) -> list[Train]:
    return [job for job in jobs if isinstance(job, Train)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def measure(cache: Path, case: Case) -> Measurement:
    return measured(cache, case)


REAL = replace(
    CASE,
    task=Task("digits", Recipe("mlp", Adam(0.005), batch_size=50, epochs=8)),
    defense=NoDefense(),
    seeds=(0,),
    protocol=Backdoor(),
)


def test_a_back_door_is_open_with_poison_and_shut_without(cache: Path) -> None:
    found = measure(cache, REAL).metrics
    assert found["backdoor_rate"].value > 0.9
    assert found["backdoor_rate_clean"].value < 0.2
    assert abs(found["rad"].value) < 0.05


def test_a_trained_model_learns_the_back_door_later(cache: Path) -> None:
    again = measure(cache, replace(REAL, protocol=Backdoor(Retrained(epochs=3))))
    assert again.metrics["backdoor_rate"].value > 0.9
    assert again.metrics["backdoor_rate_clean"].value < 0.2
    assert (again.details["epochs"], again.details["clean_epochs"]) == (3, 8)


def test_watched_rows_are_test_rows_of_other_classes_with_the_trigger() -> None:
    for job in trainings(experiment()[0][1]):
        assert job.watch is not None
        assert len(job.watch) == 4
        assert (job.watch.y != PATCH.claimed).all()
        stamped = stamp(DIGITS.test.x, size=3).flatten(1)
        places = torch.cdist(job.watch.x.flatten(1), stamped).min(1)
        assert places.values.max() == 0
        assert torch.equal(DIGITS.test.y[places.indices], job.watch.y)


def test_clean_and_poisoned_models_of_a_seed_are_shown_the_same_rows() -> None:
    clean, poisoned = (experiment()[0][1][place : place + 2] for place in (0, 2))
    shown = [[job.watch.fingerprint for job in trainings(jobs) if job.watch] for jobs in (clean, poisoned)]
    assert shown[0] == shown[1]
    assert len(set(shown[0])) == 2


def test_all_rows_are_watched_where_there_are_few() -> None:
    found = experiment(replace(CASE, protocol=Backdoor(rows=10_000)), DIGITS.subset(test=40))
    assert [len(job.watch) for job in trainings(found[0][1]) if job.watch] == [36] * 4


def test_defended_models_are_trained_on_clean_data_and_with_poison() -> None:
    first, second = experiment()[0]
    assert [(job.recipe, job.seed, job.watch) for job in trainings(first)] == [
        (CASE.vanilla, 0, None),
        (CASE.vanilla, 1, None),
    ]
    assert [(job.recipe, job.seed, job.poison is not None) for job in trainings(second)] == [
        (CASE.recipe, 0, False),
        (CASE.recipe, 1, False),
        (CASE.recipe, 0, True),
        (CASE.recipe, 1, True),
    ]
    assert all(job.initial is None for job in trainings(second))


def test_retraining_goes_on_from_the_vanilla_model_with_the_defence() -> None:
    case = replace(CASE, protocol=Backdoor(Retrained(epochs=2, optimizer=SGD(0.01)), rows=4))
    first, second = experiment(case)[0]
    assert all(job.keep_states for job in trainings(first))
    assert {job.recipe for job in trainings(first)} == {CASE.vanilla}
    again = CLIPPED.shape(replace(RECIPE, epochs=2, optimizer=SGD(0.01)))
    assert {job.recipe for job in trainings(second)} == {again}
    assert all(job.initial is STATE for job in trainings(second))


@pytest.mark.parametrize(
    ("name", "best", "last"),
    [
        ("backdoor_rate", 3 / 4, 1),
        ("backdoor_rate_clean", 1 / 4, 0),
        ("rad", (0.6 - 0.3) / 0.6, (0.4 - 0.2) / 0.4),
        ("utility_loss", (0.8 - 0.6) / 0.8, (0.5 - 0.4) / 0.5),
        ("accuracy_vanilla", 0.8, 0.5),
        ("accuracy_clean", 0.6, 0.4),
        ("accuracy_poisoned", 0.3, 0.2),
    ],
)
def test_metrics_are_those_of_the_definitions(name: str, best: float, last: float) -> None:
    found = experiment()[1].metrics
    assert (found[f"{name}_best"].value, found[f"{name}_last"].value) == pytest.approx((best, last))
    assert name in METRICS


@pytest.mark.parametrize("epoch", Accuracy)
def test_metrics_without_suffix_are_those_of_the_chosen_epoch(epoch: Accuracy) -> None:
    found = experiment(replace(CASE, protocol=Backdoor(accuracy=epoch, rows=4)))[1].metrics
    names = {name.removesuffix("_best") for name in found if name.endswith("_best")}
    assert {"backdoor_rate", "rad"} <= names
    assert all(found[name] == found[f"{name}_{epoch.value}"] for name in names)


def test_metrics_are_over_seeds() -> None:
    assert {estimate.n for estimate in experiment()[1].metrics.values()} == {2}


def test_a_defence_that_filters_is_asked_and_what_it_removed_is_told() -> None:
    rounds, found = experiment(replace(CASE, defense=DropFirst()))
    assert [(job.seed, job.poison is not None) for job in rounds[1] if isinstance(job, Filter)] == [
        (0, False),
        (1, False),
        (0, True),
        (1, True),
    ]
    poison = PATCH.budget(len(DIGITS.train))
    assert [len(job.keep) - len(DIGITS.train) for job in trainings(rounds[2]) if job.keep is not None] == [
        0,
        0,
        poison,
        poison,
    ]
    assert found.metrics["poison_removed"].value == pytest.approx(1 / poison)
    assert found.metrics["clean_removed"].value == pytest.approx(1 / len(DIGITS.train))


def test_details_say_how_much_there_was_and_show_a_poison() -> None:
    details = experiment()[1].details
    assert details["triggered_rows"] == [4, 4]
    assert details["poison_rows"] == [PATCH.budget(len(DIGITS.train))] * 2
    assert (details["example"]["label"], details["example"]["shape"]) == (4, [1, 8, 8])
    assert details["example"]["pixels"].startswith("ff" * 3)
    before, after = (bytes.fromhex(row["pixels"]) for row in (details["example"]["original"], details["example"]))
    assert 0 < sum(one != other for one, other in zip(before, after, strict=True)) <= 9


TRIGGERS: dict[str, tuple[Callable[[Split], Any], str]] = {
    "nan": (lambda rows: Split(rows.x * torch.nan, rows.y), "values that are not finite"),
    "range": (lambda rows: Split(rows.x * 9, rows.y), r"values in \[0, 9\], expected \[0, 1\]"),
    "x-dtype": (lambda rows: Split(rows.x.double(), rows.y), "x of torch.float64, expected torch.float32"),
    "y-dtype": (lambda rows: Split(rows.x, rows.y.int()), "y of torch.int32, expected torch.int64"),
    "x-shape": (lambda rows: Split(rows.x.flatten(1), rows.y), r"x of shape \(\d+, 64\), expected \(\d+, 1, 8, 8\)"),
    "y-shape": (lambda rows: Split(rows.x, rows.y[:, None]), r"y of shape \(\d+, 1\), expected \(n,\)"),
    "unequal": (lambda rows: Split(rows.x[1:], rows.y), "x of shape"),
    "label": (lambda rows: Split(rows.x, rows.y + 9), "rows with labels in"),
    "claimed": (lambda rows: Split(rows.x, rows.y * 0 + PATCH.claimed), f"rows of class {PATCH.claimed}, which it"),
    "pair": (lambda rows: (rows.x, rows.y), "returned tuple as rows with its trigger, expected a Split"),
}


@dataclass(frozen=True)
class OddTrigger(BadNetsPatch):
    """Puts its trigger on rows as no attack may."""

    odd: str = "nan"

    def triggered(self, rows: Split) -> Split:
        found: Split = TRIGGERS[self.odd][0](super().triggered(rows))
        return found


@pytest.mark.parametrize("odd", TRIGGERS)
def test_rows_with_a_trigger_that_would_be_no_rows_of_the_data_are_refused(odd: str) -> None:
    with pytest.raises(ValueError, match=TRIGGERS[odd][1]):
        experiment(replace(CASE, attack=OddTrigger(3, fraction=0.05, odd=odd)))


@dataclass(frozen=True)
class OddClaim(BadNetsPatch):
    """Claims a class that the data do not have."""

    @property
    def claimed_class(self) -> int:
        return 10


def test_a_claimed_class_that_is_none_of_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"claims class 10, expected \[0, 10\)"):
        experiment(replace(CASE, attack=OddClaim(3, fraction=0.05)))


def test_labels_tell_the_options_apart_and_are_defined() -> None:
    labels = [Backdoor(start, accuracy).label for accuracy in Accuracy for start in (Scratch(), Retrained())]
    assert labels == ["backdoor", "backdoor_retrained", "backdoor_last", "backdoor_retrained_last"]
    assert all(map(meaning, labels))


def test_a_board_shows_the_rate_and_ranks_by_it() -> None:
    record = make(metrics=dict(experiment()[1].metrics), thresholds=())
    assert damage(record) == judged(record) == record.metrics["backdoor_rate"]


def test_an_attack_without_a_trigger_is_refused() -> None:
    with pytest.raises(ValueError, match="attack 'label_flip_10' has no trigger: backdoor needs one, such as"):
        experiment(replace(CASE, attack=LabelFlip(0.1)))


def test_an_attack_without_poison_is_refused() -> None:
    with pytest.raises(ValueError, match="attack 'badnets_s3_0' adds no poison"):
        experiment(replace(CASE, attack=BadNetsPatch(3, fraction=0)))


def test_data_that_the_attack_cannot_be_made_on_is_refused() -> None:
    with pytest.raises(ValueError, match="badnets_s9_1 cannot be made on digits: its pictures have 8 x 8 pixels"):
        experiment(replace(CASE, attack=BadNetsPatch(9)))


def test_without_a_row_of_another_class_there_is_nothing_to_watch() -> None:
    fours = DIGITS.test.y == 4
    alone = replace(DIGITS, test=Split(DIGITS.test.x[fours], DIGITS.test.y[fours]))
    with pytest.raises(ValueError, match="digits: every test row is of class 4, which badnets_s3_5 claims"):
        experiment(dataset=alone)


def test_an_estimator_can_have_a_back_door_but_is_not_trained_further() -> None:
    task = Task("digits", Fit("logistic"))
    case = replace(CASE, task=task, defense=NoDefense())
    assert "backdoor_rate" in experiment(case)[1].metrics
    with pytest.raises(ValueError, match="'logistic' is fitted by an estimator: backdoor_retrained needs a recipe"):
        experiment(replace(case, protocol=Backdoor(Retrained())))


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"rows": 0}, "rows=0"), ({"accuracy": "last"}, "accuracy='last': expected one of Accuracy.BEST")],
)
def test_bad_settings_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Backdoor(**values)
