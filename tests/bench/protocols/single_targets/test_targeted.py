from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from gradshape.attacks import Attack, Goal, LabelFlip, PoisonSet, VictimView
from gradshape.data import load
from gradshape.defenses import Assumptions, Defense, DefenseKind, NoDefense, Suspect
from gradshape.training import Adam, AnyRecipe, Fit, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Craft, Filter, Train
from gradshape_bench.protocols import Counted, Lab, Measurement, Targeted
from tests.bench.spy import Spy, measured

TREE = Task("digits_38", Fit("logistic"))
MODEL = Task("digits_38", Recipe("lr", Adam(0.05), batch_size=32, epochs=3))


@dataclass(frozen=True)
class Copies(Attack):
    """Copies of the target under the wrong label."""

    count: int

    threat: ClassVar = replace(LabelFlip.threat, goal=Goal.TARGETED)
    adaptive: ClassVar[bool] = False

    @property
    def label(self) -> str:
        return f"copies_{self.count}"

    def budget(self, train_rows: int) -> int:
        return self.count

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        target = victim.target
        return PoisonSet.added(target.x.repeat_interleave(count, 0), (1 - target.y).repeat_interleave(count))


@dataclass(frozen=True)
class DropTargets(Defense):
    """Removes all rows that are equal to a target."""

    assumptions: ClassVar[Assumptions] = replace(
        NoDefense.assumptions, kind=DefenseKind.OUTLIER_REMOVAL, knows_targets=True
    )

    def label_for(self, recipe: AnyRecipe) -> str:
        return "drop_targets"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        try:
            targets = train.targets.x
        except ValueError:  # there is no attack
            return torch.ones(len(train), dtype=torch.bool)
        return torch.cdist(train.x.flatten(1), targets.flatten(1)).min(1).values > 0


def measure(
    tmp_path: Path,
    attack: Attack,
    *,
    task: Task = TREE,
    defense: Defense | None = None,
    protocol: Targeted | None = None,
    engine: Spy | None = None,
) -> Measurement:
    protocol = protocol or Targeted(targets=3)
    case = Case(task, attack, defense or NoDefense(), scale=Scale.PAPER, seeds=(0, 1), protocol=protocol)
    return measured(tmp_path, case, engine=engine)


@pytest.mark.parametrize("task", [TREE, MODEL], ids=["estimator", "network"])
def test_enough_copies_of_a_target_hide_it_and_none_do_nothing(tmp_path: Path, task: Task) -> None:
    many = measure(tmp_path, Copies(300), task=task).metrics["success_rate"]
    none = measure(tmp_path, Copies(0), task=task).metrics["success_rate"]
    assert (many.value, many.n) == (1, 6)
    assert (none.value, none.n) == (0, 6)


def test_a_defence_that_knows_the_targets_is_told_them(tmp_path: Path) -> None:
    engine = Spy()
    found = measure(tmp_path, Copies(300), defense=DropTargets(), engine=engine)
    assert found.metrics["success_rate"].value == 0
    assert sum(isinstance(job, Filter) and job.poison is not None for job in engine.done) == 6


def test_trials_name_the_seed_and_the_row_of_each_outcome(tmp_path: Path) -> None:
    found = measure(tmp_path, Copies(0))
    trials = found.details["trials"]
    assert [seed for seed, _ in trials] == [0, 0, 0, 1, 1, 1]
    assert all(load("digits_38").test.y[row] == 0 for _, row in trials)
    assert len(found.metrics["success_rate"].values) == len(trials)


def test_targets_are_rows_of_the_class_that_the_clean_model_classifies_correctly() -> None:
    data, protocol = load("digits_38"), Targeted(targets=4, source=1)
    case = Case(TREE, Copies(5), NoDefense(), scale=Scale.PAPER, seeds=(0,), protocol=protocol)
    experiment = protocol.run(case, Lab(case, data, "cpu"))
    _, watching = next(experiment)
    assert isinstance(watching, Train)
    assert watching.watch is not None
    assert watching.watch.y.tolist() == [1] * len(watching.watch)
    accuracy = torch.ones(1, dtype=torch.float64)
    predictions = watching.watch.y.clone()
    predictions[0] = 0
    from gradshape.training import TrainingResult

    result = TrainingResult(accuracy, predictions=predictions.unsqueeze(0))
    crafting = experiment.send([result, result])
    assert all(isinstance(job, Craft) for job in crafting)
    targets = [job.target.x for job in crafting if isinstance(job, Craft) and job.target is not None]
    assert [torch.equal(t[0], x) for t, x in zip(targets, watching.watch.x[1:5], strict=True)] == [True] * 4


def test_the_target_is_not_given_to_defences_that_do_not_assume_it() -> None:
    data = load("digits_38")
    job = Filter.by(data, "cpu", NoDefense(), recipe=TREE.recipe, poison=None, seed=0, targets=data.test)
    assert job.targets is None


def test_any_epoch_counts_if_it_is_asked_for() -> None:
    assert Targeted().label == "targeted"
    assert Targeted(counted=Counted.ANY_EPOCH).label == "targeted_any"


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="targets=0"):
        Targeted(targets=0)
    with pytest.raises(ValueError, match="counted='any': expected one of Counted"):
        Targeted(counted="any")  # type: ignore[arg-type]
    data = load("digits_38")
    case = Case(TREE, Copies(5), NoDefense(), scale=Scale.PAPER, seeds=(0,), protocol=Targeted(source=7))
    with pytest.raises(ValueError, match="source=7: digits_38 has no test row of that class"):
        next(case.protocol.run(case, Lab(case, data, "cpu")))
