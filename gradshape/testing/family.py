"""What every family of stacks promises, which is a way of training that ``train_victims`` may ask first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gradshape import models
from gradshape.data import Dataset, Split
from gradshape.testing._datasets import blobs
from gradshape.testing.promise import Check, checks, demand, leaves_the_state_of_the_process_alone, untouched
from gradshape.training import AnyRecipe, Family, Recipe, TrainingResult, Victim, Workload, train_stacks, train_victims
from gradshape.training.state import load_state

_CLOSE = 1e-4


def check_family(family: Family, recipe: AnyRecipe, *, dataset: Dataset | None = None, device: str = "cpu") -> None:
    """Check all that a family promises.

    Args:
        family: the family to check.
        recipe: a recipe of victims that it takes, with few epochs: they are trained some dozen times.
        dataset: the data set to train them on; by default blobs of five features in three classes.
        device: a device to train them on besides the CPU, such as ``cuda``.

    Raises:
        BrokenPromise: a promise is broken; the error names the promise and the value that breaks it.

    >>> from gradshape.training import SGD
    >>> from gradshape.training._dense.family import DenseFamily
    >>> check_family(DenseFamily(), Recipe("lr", SGD(0.1), batch_size=10, epochs=2))
    """
    for check in family_checks(family, recipe, dataset=dataset, device=device):
        check()


def family_checks(
    family: Family, recipe: AnyRecipe, *, dataset: Dataset | None = None, device: str = "cpu"
) -> list[Check]:
    """Return the checks of :func:`check_family`, one a promise: for ``pytest.mark.parametrize``, with ``ids=str``."""
    data = blobs() if dataset is None else dataset
    promises = PROMISES if device == "cpu" else (*PROMISES, gives_the_same_on_the_device)
    return checks(type(family).__name__, promises, [FamilyTrial(family, recipe, data, device)])


@dataclass(frozen=True, eq=False)
class FamilyTrial:
    """A family, and victims that it takes."""

    family: Family
    recipe: AnyRecipe
    dataset: Dataset
    device: str = "cpu"

    @cached_property
    def victims(self) -> list[Victim]:
        """Three victims with private rows of their own, which see the train rows in one order and watch two rows."""
        test, removed = self.dataset.test, torch.arange(3)
        return [
            Victim(self.recipe, seed, _rows(test, 2 + seed), removed=removed, order_seed=7, watch=test.x[:2])
            for seed in range(3)
        ]

    def train(
        self, victims: Sequence[Victim], *, dataset: Dataset | None = None, **settings: Any
    ) -> list[TrainingResult]:
        """Train victims by the family, with these settings of :func:`train_victims`."""
        data = self.dataset if dataset is None else dataset
        return train_victims(data, victims, families=[self.family], **settings)

    def use(self) -> None:
        """Train one victim after the other for an epoch, on the rows themselves, and look at it in every way."""
        work = Workload(self.dataset, self.victims)
        for place in range(len(self.victims)):
            stack = self.family.stack(work, [place])
            stack.train(0)
            stack.watched()
            stack.score([0])
            stack.remember([0])
            stack.learned(0)


def _rows(split: Split, count: int) -> Split:
    return Split(split.x[:count], split.y[:count])


def _demand_same(found: TrainingResult, expected: TrainingResult, what: str) -> None:
    """Demand equal classes and accuracies, and states and errors that are equal up to rounding."""
    _demand_equal(found.accuracy, expected.accuracy, f"{what}: the accuracy")
    near = found.mse == expected.mse
    if found.mse is not None and expected.mse is not None:
        near = math.isclose(found.mse, expected.mse, rel_tol=_CLOSE)
    demand(near, f"{what}: the mean squared error is {found.mse}, expected {expected.mse}")
    if found.predictions is not None and expected.predictions is not None:
        _demand_equal(found.predictions, expected.predictions, f"{what}: the predictions")
    for name, value in (expected.last or {}).items():
        other = (found.last or {}).get(name)
        demand(other is not None, f"{what}: the state has no {name!r}")
        assert other is not None
        demand(other.device.type == "cpu", f"{what}: {name!r} lies on {other.device}: expected the CPU")
        apart = float((other.double() - value.double()).abs().max()) if value.numel() else 0.0
        demand(apart <= _CLOSE, f"{what}: {name!r} differs by {apart:g}, expected at most {_CLOSE:g}")


def _demand_equal(found: Tensor, expected: Tensor, what: str) -> None:
    demand(torch.equal(found, expected), f"{what} is {found.tolist()}, expected {expected.tolist()}")


def takes_the_victims_of_its_recipe(trial: FamilyTrial) -> None:
    """``takes`` returns True for victims of this recipe, on every call."""
    for victim in trial.victims:
        said = [trial.family.takes(trial.dataset, victim, torch.device("cpu")) for _ in range(2)]
        demand(said == [True, True], f"takes() gives {said} for {victim!r}: expected True")


def names_what_victims_share(trial: FamilyTrial) -> None:
    """Equal victims share a stack or have each their own, and victims of other lengths of training share none."""
    one, twin = (trial.family.shares(trial.dataset, victim) for victim in (trial.victims[0], trial.victims[0]))
    demand(hash(one) == hash(twin) and one == twin, f"shares() gives {one!r}, then {twin!r}, for one victim")
    if one is not None and isinstance(trial.recipe, Recipe):
        longer = replace(trial.victims[0], recipe=replace(trial.recipe, epochs=trial.recipe.epochs + 1))
        other = trial.family.shares(trial.dataset, longer)
        demand(other != one, f"shares() gives {one!r} also for a victim that is trained for one epoch more")


def states_its_needs(trial: FamilyTrial) -> None:
    """Bytes are whole numbers, a victim takes at least one, and at least one victim is in a stack."""
    needs = trial.family.needs(Workload(trial.dataset, trial.victims), trial.victims)
    good = needs.common >= 0 and needs.per_victim >= 1 and needs.at_most >= 1
    demand(good, f"needs() gives {needs!r}: expected common >= 0, per_victim >= 1 and at_most >= 1")
    demand(isinstance(needs.common + needs.per_victim, int), f"needs() gives {needs!r}: expected integers")


def measures_every_epoch(trial: FamilyTrial) -> None:
    """Accuracies are shares, one an epoch; predictions are classes, one an epoch and watched row."""
    epochs, classes = trial.recipe.epochs, trial.dataset.num_classes
    for result in trial.train(trial.victims):
        if trial.dataset.regression:
            demand(result.mse is not None and result.mse >= 0, f"the mean squared error is {result.mse}")
            continue
        shape = tuple(result.accuracy.shape)
        demand(shape == (epochs,), f"accuracies have shape {shape}: expected {(epochs,)}")
        inside = bool(((result.accuracy >= 0) & (result.accuracy <= 1)).all())
        demand(inside, f"accuracies are {result.accuracy.tolist()}: expected numbers in [0, 1]")
        found = result.predictions
        demand(found is not None, "there are no predictions of the watched rows")
        assert found is not None
        demand(
            tuple(found.shape) == (epochs, 2), f"predictions have shape {tuple(found.shape)}: expected {(epochs, 2)}"
        )
        demand(
            bool(((found >= -1) & (found < classes)).all()), f"predictions are {found.tolist()}: expected classes or -1"
        )


def repeats_itself(trial: FamilyTrial) -> None:
    """The same victims, trained again, give the same."""
    for found, expected in zip(trial.train(trial.victims), trial.train(trial.victims), strict=True):
        _demand_same(found, expected, "trained again")


def depends_on_no_company(trial: FamilyTrial) -> None:
    """A victim has the numbers that it has alone, whoever is trained beside it, and in whichever place."""
    victims = trial.victims
    together, reversed_ = trial.train(victims), trial.train(victims[::-1])[::-1]
    for victim, beside, turned in zip(victims, together, reversed_, strict=True):
        [alone] = trial.train([victim])
        _demand_same(beside, alone, f"seed {victim.seed}, beside others")
        _demand_same(turned, alone, f"seed {victim.seed}, in another place")


def shares_stacks_as_it_says(trial: FamilyTrial) -> None:
    """Victims that share what the family asks for are in one stack, others in stacks of their own."""
    victims = [trial.victims[0], trial.victims[0]]
    together = trial.family.shares(trial.dataset, victims[0]) is not None
    stacks = [members for members, _ in train_stacks(trial.dataset, victims, families=[trial.family])]
    expected = [[0, 1]] if together else [[0], [1]]
    found = [sorted(members) for members in stacks]
    demand(found == expected, f"two equal victims are in the stacks {found}: expected {expected}")


def trains_on_private_rows(trial: FamilyTrial) -> None:
    """As many private rows with other labels as there are train rows change what is learned."""
    train, victim = trial.dataset.train, replace(trial.victims[0], private=None)
    y = 1 - train.y if trial.dataset.regression else (train.y + 1) % trial.dataset.num_classes
    poisoned = replace(victim, private=Split(train.x, y))
    [clean], [attacked] = trial.train([victim]), trial.train([poisoned])
    learned_the_same = torch.equal(clean.accuracy, attacked.accuracy) and clean.mse == attacked.mse
    demand(not learned_the_same, "a copy of all train rows with other labels changes neither accuracy nor error")


def knows_nothing_of_removed_rows(trial: FamilyTrial) -> None:
    """Changing removed rows changes no result."""
    train, victim = trial.dataset.train, trial.victims[0]
    assert victim.removed is not None
    x, y = train.x.clone(), train.y.clone()
    x[victim.removed] = 1 - x[victim.removed]
    y[victim.removed] = 1 - y[victim.removed] if trial.dataset.regression else (y[victim.removed] + 1) % y.max()
    changed = replace(trial.dataset, train=Split(x, y))
    [expected], [found] = trial.train([victim]), trial.train([victim], dataset=changed)
    _demand_same(found, expected, "with other rows in place of the removed ones")


def gives_the_same_on_the_device(trial: FamilyTrial) -> None:
    """It takes the victims elsewhere, too, and there they have the numbers of the CPU, up to rounding."""
    device = torch.device(trial.device)
    taken = [trial.family.takes(trial.dataset, victim, device) for victim in trial.victims]
    demand(all(taken), f"takes() gives {taken} on {device}: expected True")
    here, there = (trial.train(trial.victims, device=where, dtype=torch.float64) for where in ("cpu", device))
    for victim, found, expected in zip(trial.victims, there, here, strict=True):
        _demand_same(found, expected, f"seed {victim.seed}, on {device}")


def lets_victims_leave(trial: FamilyTrial) -> None:
    """A victim whose watched rows are predicted as intended ends, and the others go on as if it had stayed."""
    if trial.dataset.regression:
        return
    expected = trial.train(trial.victims)
    first = expected[0].predictions
    assert first is not None
    leaving = replace(trial.victims[0], intended=first[0].clone())
    found = trial.train([leaving, *trial.victims[1:]])
    ended = len(found[0].accuracy)
    demand(ended == 1, f"a victim that predicts what is intended after epoch 1 was trained for {ended} epochs")
    for seed in (1, 2):
        _demand_same(found[seed], expected[seed], f"seed {seed}, after another victim has left")


def keeps_states_if_asked(trial: FamilyTrial) -> None:
    """States are those of the model, last and best ones together, and there are none if none are asked for."""
    for result in trial.train(trial.victims, keep_states=False):
        demand(result.last is None and result.best is None, "there is a state though none was asked for")
    for victim, result in zip(trial.victims, trial.train(trial.victims), strict=True):
        demand((result.last is None) == (result.best is None), "there is a last or a best state only: expected both")
        if isinstance(victim.recipe, Recipe) and result.last is not None and result.best is not None:
            model = models.build(victim.recipe.model, trial.dataset.input_shape, trial.dataset.num_classes)
            for state in (result.last, result.best):
                load_state(model, state)


def writes_nothing_to_rows(trial: FamilyTrial) -> None:
    """Train rows, test rows, private rows and watched rows stay as they are."""
    victims, data = trial.victims, trial.dataset
    arrays = {"train rows": data.train.x, "train labels": data.train.y, "test rows": data.test.x}
    for victim in victims:
        if victim.private is not None and victim.watch is not None:
            arrays |= {f"private rows {victim.seed}": victim.private.x, f"watched rows {victim.seed}": victim.watch}
    with untouched(arrays):
        trial.use()


PROMISES: Sequence[Callable[[FamilyTrial], None]] = (
    takes_the_victims_of_its_recipe,
    names_what_victims_share,
    states_its_needs,
    measures_every_epoch,
    repeats_itself,
    depends_on_no_company,
    shares_stacks_as_it_says,
    trains_on_private_rows,
    knows_nothing_of_removed_rows,
    lets_victims_leave,
    keeps_states_if_asked,
    writes_nothing_to_rows,
    leaves_the_state_of_the_process_alone,
)
