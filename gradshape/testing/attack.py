"""What every attack promises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gradshape import models
from gradshape.attacks import Attack, PoisonSet, TargetedAttack, VictimView
from gradshape.data import Dataset, GuardedCopies, Split
from gradshape.testing._datasets import blobs, plane, words
from gradshape.testing.promise import (
    Check,
    can_be_sent_to_a_process,
    check_reason,
    checks,
    demand,
    drawing,
    has_a_label_for_ids,
    is_a_frozen_value,
    leaves_the_randomness_of_the_process_alone,
    leaves_the_state_of_the_process_alone,
    untouched,
)
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, State, TrainedModel, Victim, train_victims

BASE = Recipe("mlp1", SGD(0.5), batch_size=20, epochs=3)
_RECIPE = Recipe("lr", SGD(0.1), batch_size=20, epochs=1)


def check_attack(attack: Attack, *, dataset: Dataset | None = None, device: str = "cpu") -> None:
    """Check all that an attack promises.

    Args:
        attack: the attack to check.
        dataset: the data set to try it on; by default small ones of several kinds, those that it can be made on.
        device: a device to try it on besides the CPU, such as ``cuda``.

    Raises:
        BrokenPromise: a promise is broken; the error names the promise and the value that breaks it.
        ValueError: the attack can be made on none of the data sets.

    >>> from gradshape.attacks import LabelFlip
    >>> check_attack(LabelFlip(0.1))
    """
    for check in attack_checks(attack, dataset=dataset, device=device):
        check()


def attack_checks(attack: Attack, *, dataset: Dataset | None = None, device: str = "cpu") -> list[Check]:
    """Return the checks of :func:`check_attack`, one a promise: for ``pytest.mark.parametrize``, with ``ids=str``.

    >>> from gradshape.attacks import LabelFlip
    >>> [str(check) for check in attack_checks(LabelFlip(0.1))][5:8]
    ['keeps-the-budget', 'crafts-rows-like-the-data', 'keeps-features-in-range']
    """
    promises = PROMISES if device == "cpu" else (*PROMISES, gives_the_same_on_the_device)
    tried = [AttackTrial(attack, name, data, device) for name, data in suitable(attack, dataset).items()]
    return checks(str(attack.label), promises, tried)


def datasets() -> tuple[dict[str, Dataset], ...]:
    """Return new data sets to try attacks on, in order of preference: the first that an attack can be made on count."""
    return (
        {
            "two-classes": blobs(rows=104, classes=2, spread=0.5),
            "pictures": blobs(rows=99, shape=(1, 3, 2), classes=4, spread=0.4),
        },
        {"words": words(), "values": plane(noise=0.05)},
    )


def suitable(attack: Attack, dataset: Dataset | None = None) -> dict[str, Dataset]:
    """Return the data sets that an attack is tried on, by name.

    Raises:
        ValueError: it can be made on none.
    """
    given = datasets() if dataset is None else ({dataset.name: dataset},)
    reasons: dict[str, str | None] = {}
    for sets in given:
        reasons |= {name: attack.unsuitable(data) for name, data in sets.items()}
        found = {name: data for name, data in sets.items() if reasons[name] is None}
        if found:
            return found
    raise ValueError(f"{attack.label} can be made on none of {reasons}: pass dataset=... that it is for")


@dataclass(eq=False)
class AttackTrial:
    """An attack on one data set, with all that an attack can be told."""

    attack: Attack
    name: str
    dataset: Dataset
    device: str = "cpu"

    @cached_property
    def aim(self) -> dict[str, Any]:
        return aim(self.attack, self.dataset, targets=2 if isinstance(self.attack, TargetedAttack) else 1)

    @property
    def count(self) -> int:
        return self.attack.budget(len(self.dataset.train))

    @cached_property
    def recipe(self) -> AnyRecipe:
        return Fit("ridge") if self.dataset.regression else _RECIPE

    @cached_property
    def parameters(self) -> State:
        model = models.build("lr", self.dataset.input_shape, max(self.dataset.num_classes, 2))
        return {name: parameter.detach() for name, parameter in model.named_parameters()}

    @cached_property
    def _first(self) -> tuple[PoisonSet, bool]:
        return drawing(self.craft, 1)

    @property
    def poison(self) -> PoisonSet:
        return self._first[0]

    @property
    def draws(self) -> bool:
        return self._first[1]

    @property
    def values(self) -> list[Attack]:
        """The attack."""
        return [self.attack]

    def label(self, value: Attack) -> str:
        """Return the label of an attack."""
        return value.label

    def use(self) -> PoisonSet:
        """Craft poison."""
        return self.craft()

    def craft(self, generator: torch.Generator | None = None, **changes: Any) -> PoisonSet:
        """Return what the attack's authors make of what it is shown, before the call checks it."""
        return self.craft_from(self.view(**changes), generator)

    def view(self, **changes: Any) -> VictimView:
        """Return what the attack is shown."""
        known = {"dataset": self.dataset, "recipe": self.recipe, "parameters": self.parameters} | self.aim | changes
        return VictimView(self.attack.threat, **known)

    def craft_from(self, view: VictimView, generator: torch.Generator | None = None) -> PoisonSet:
        """Return what the attack's authors make of a view."""
        if self.count == 0:
            return PoisonSet.empty(self.dataset)
        return self.attack.craft(view, self.count, generator=generator or torch.Generator().manual_seed(1)).cpu()

    def call(self, *, device: str = "cpu") -> PoisonSet:
        """Return what users get."""
        known = {"recipe": self.recipe, "parameters": self.parameters} | self.aim
        return self.attack(self.dataset, seed=1, device=device, **known)


def aim(attack: Attack, dataset: Dataset, *, targets: int = 1) -> dict[str, Any]:
    """Return what a call says of its target: the first test rows, which attacks that aim take for the next class."""
    target = Split(dataset.test.x[:targets].clone(), dataset.test.y[:targets].clone())
    if not isinstance(attack, TargetedAttack):
        return {"target": target}
    networks = [_network(recipe, dataset) for recipe in attack.substitutes or (BASE,)]
    return {"target": target, "intended": (target.y + 1) % dataset.num_classes, "networks": networks}


_networks: dict[tuple[Recipe, str], TrainedModel] = {}


def _network(recipe: Recipe, dataset: Dataset) -> TrainedModel:
    key = recipe, dataset.fingerprint
    if key not in _networks:
        [result] = train_victims(dataset, [Victim(recipe, 0)])
        assert result.last is not None
        _networks[key] = TrainedModel(recipe, result.last, units=dataset.units)
    return _networks[key]


def begins_its_label_with_its_family(trial: AttackTrial) -> None:
    """Attacks that differ in intensity only are known by the beginning of their labels."""
    label, family = trial.attack.label, trial.attack.family
    demand(label.startswith(family), f"label {label!r} does not begin with family {family!r}")


def says_in_words_why_it_is_unsuitable(trial: AttackTrial) -> None:
    """``unsuitable`` gives ``None`` or a reason."""
    for sets in datasets():
        for name, dataset in sets.items():
            check_reason(trial.attack.unsuitable(dataset), name)


def keeps_the_budget(trial: AttackTrial) -> None:
    """The attack crafts as many rows as the budget says; a targeted attack at most as many for each target."""
    poison, count = trial.poison, trial.count
    demand(
        isinstance(count, int) and count >= 0,
        f"the budget on {trial.name} is {count!r}: expected an integer, 0 or more",
    )
    sizes = {"x": len(poison.x), "y": len(poison.y), "source": len(poison.source)}
    demand(len(set(sizes.values())) == 1, f"the arrays crafted on {trial.name} have {sizes} rows: expected one number")
    if isinstance(trial.attack, TargetedAttack):
        demand(poison.aims is not None, f"the rows crafted on {trial.name} have no aims: expected PoisonSet(aims=...)")
        most = 0 if poison.aims is None or not len(poison) else int(poison.aims.target.bincount().max())
        demand(most <= count, f"{most} rows for one target of {trial.name}, budget {count}")
    else:
        demand(len(poison) == count, f"{len(poison)} rows on {trial.name}, budget {count}")


def crafts_rows_like_the_data(trial: AttackTrial) -> None:
    """Shapes and types are those of the data."""
    poison, train = trial.poison, trial.dataset.train
    shape, expected = tuple(poison.x.shape[1:]), trial.dataset.input_shape
    demand(shape == expected, f"rows of shape {shape} on {trial.name}, expected {expected}")
    for name, array, dtype in (
        ("x", poison.x, torch.float32),
        ("y", poison.y, train.y.dtype),
        ("source", poison.source, torch.int64),
        ("replaced", poison.replaced, torch.int64),
    ):
        demand(array.dtype == dtype, f"{name} of {array.dtype} on {trial.name}, expected {dtype}")


def keeps_features_in_range(trial: AttackTrial) -> None:
    """Every feature is a number in [0, 1]."""
    x = trial.poison.x
    outside = x[~((x >= 0) & (x <= 1))]
    demand(not len(outside), f"{len(outside)} values on {trial.name} such as {_first(outside)}, expected [0, 1]")


def gives_labels_of_the_task(trial: AttackTrial) -> None:
    """Labels are classes of the data set, or numbers in [0, 1] for a regression task."""
    y, most = trial.poison.y, 1 if trial.dataset.regression else trial.dataset.num_classes - 1
    outside = y[~((y >= 0) & (y <= most))]
    demand(not len(outside), f"{len(outside)} labels on {trial.name} such as {_first(outside)}, expected [0, {most}]")


def names_rows_that_there_are(trial: AttackTrial) -> None:
    """``source`` and ``replaced`` are ids of train rows; no row is replaced twice, nor more than there is poison."""
    rows, source, replaced = len(trial.dataset.train), trial.poison.source, trial.poison.replaced
    outside = source[(source < -1) | (source >= rows)]
    demand(not len(outside), f"source {_first(outside)} on {trial.name}, expected [-1, {rows})")
    outside = replaced[(replaced < 0) | (replaced >= rows)]
    demand(not len(outside), f"replaced {_first(outside)} on {trial.name}, expected [0, {rows})")
    demand(
        len(replaced.unique()) == len(replaced),
        f"replaced {replaced.tolist()} on {trial.name}: expected distinct ids",
    )
    demand(len(replaced) <= len(trial.poison), f"{len(trial.poison)} rows on {trial.name} replace {len(replaced)}")


def passes_the_checks_of_the_call(trial: AttackTrial) -> None:
    """Calling the attack, which checks all of this and more, raises nothing."""
    trial.call()


def crafts_the_same_from_the_same_seed(trial: AttackTrial) -> None:
    """Poison is determined by the seed."""
    one, other = trial.poison.fingerprint, trial.craft().fingerprint
    demand(one == other, f"two poison sets from the same seed on {trial.name}: {one[:12]} and {other[:12]}")


def crafts_anew_from_another_seed(trial: AttackTrial) -> None:
    """Another seed gives other poison if the attack draws from its generator, and the same if it does not."""
    others = [trial.craft(torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    found = len({poison.fingerprint for poison in (trial.poison, *others)})
    if trial.draws:
        demand(found > 1, f"it draws from its generator, but 3 seeds give the same poison on {trial.name}")
    else:
        demand(found == 1, f"it draws nothing from its generator, but 3 seeds give {found} sets on {trial.name}")


def writes_nothing_to_what_it_is_shown(trial: AttackTrial) -> None:
    """Rows, targets, parameters and networks stay as they are: a call that finds them changed refuses the poison."""
    copies = GuardedCopies()
    view = trial.view(copies=copies)
    with untouched(copies.by_name):
        trial.craft_from(view)


def shares_no_memory_with_what_it_is_shown(trial: AttackTrial) -> None:
    """Poison is a copy, so that it does not keep all rows in memory that it was made from.

    Nor does it lie where earlier poison does: two calls at once, in two threads, would write to each other's.
    """
    names = ("x", "y", "source", "replaced")
    earlier = {f"the {name} that an earlier call returned": getattr(trial.poison, name) for name in names}
    copies = GuardedCopies()
    poison = trial.craft_from(trial.view(copies=copies))
    for name in names:
        array = getattr(poison, name)
        for other, shown in {**copies.by_name, **earlier}.items():
            shared = len(array) and array.untyped_storage().data_ptr() == shown.untyped_storage().data_ptr()
            demand(not shared, f"{name} of the poison on {trial.name} lies in the memory of {other}")


def knows_what_its_threat_model_grants(trial: AttackTrial) -> None:
    """What the threat model does not grant changes nothing, and is not asked for."""
    threat, train = trial.attack.threat, trial.dataset.train
    usual = trial.poison.fingerprint
    if not threat.training_data.granted:
        other = Split(1 - train.x, train.y.flip(0))
        unlike = Dataset(trial.dataset.name, other, trial.dataset.test, num_classes=trial.dataset.num_classes)
        demand(trial.craft(dataset=unlike).fingerprint == usual, f"other train rows change the poison on {trial.name}")
    if not threat.algorithm.granted:
        recipe = Recipe("mlp1", SGD(0.3), batch_size=7, epochs=9)
        demand(trial.craft(recipe=recipe).fingerprint == usual, f"another recipe changes the poison on {trial.name}")
    if not threat.parameters.granted:
        found = trial.craft(parameters=None).fingerprint
        demand(found == usual, f"other parameters change the poison on {trial.name}")


def gives_poison_to_train_on(trial: AttackTrial) -> None:
    """A victim trains on it, and does not diverge at once."""
    poison = trial.poison
    [result] = train_victims(trial.dataset, [Victim(trial.recipe, 0, private=poison.rows, removed=poison.replaced)])
    demand(result.diverged is None, f"a victim of the poison on {trial.name} diverged in epoch {result.diverged}")


def gives_the_same_on_the_device(trial: AttackTrial) -> None:
    """Poison that is crafted elsewhere lies on the CPU and is the same, up to rounding."""
    here, there = trial.call(), trial.call(device=trial.device)
    for name in ("x", "y", "source", "replaced"):
        # What an attack iterates carries rounding along: far less than a grey level is the same row.
        tolerance = 1e-4 if name == "x" else 1e-6
        _check_close(getattr(there, name), getattr(here, name), tolerance, f"{name} on {trial.name}")
    demand((there.aims is None) == (here.aims is None), "there are aims on one device only")
    if there.aims is not None and here.aims is not None:
        for name in ("target", "base", "distance"):
            _check_close(getattr(there.aims, name), getattr(here.aims, name), 1e-5, f"aims.{name} on {trial.name}")
    demand(there.notes.keys() == here.notes.keys(), f"notes {dict(there.notes)}, on the CPU {dict(here.notes)}")
    for name, value in there.notes.items():
        near = abs(value - here.notes[name]) <= max(1e-6 * abs(here.notes[name]), 1e-12)
        demand(near, f"note {name}={value!r} on {trial.name}, on the CPU {here.notes[name]!r}")


def _check_close(there: Tensor, here: Tensor, tolerance: float, what: str) -> None:
    demand(there.device.type == "cpu", f"{what} lies on {there.device}: expected the CPU")
    demand(there.shape == here.shape, f"{what} has shape {tuple(there.shape)}, on the CPU {tuple(here.shape)}")
    apart = (there.double() - here.double()).abs()
    most = float(apart.max()) if len(apart) else 0.0
    demand(bool((apart <= tolerance * (1 + here.double().abs())).all()), f"{what} differs from the CPU's by {most:g}")


def _first(values: Tensor) -> float | None:
    return values.flatten()[0].item() if len(values) else None


PROMISES: Sequence[Callable[[AttackTrial], None]] = (
    has_a_label_for_ids,
    begins_its_label_with_its_family,
    is_a_frozen_value,
    can_be_sent_to_a_process,
    says_in_words_why_it_is_unsuitable,
    keeps_the_budget,
    crafts_rows_like_the_data,
    keeps_features_in_range,
    gives_labels_of_the_task,
    names_rows_that_there_are,
    passes_the_checks_of_the_call,
    crafts_the_same_from_the_same_seed,
    crafts_anew_from_another_seed,
    writes_nothing_to_what_it_is_shown,
    leaves_the_randomness_of_the_process_alone,
    leaves_the_state_of_the_process_alone,
    shares_no_memory_with_what_it_is_shown,
    knows_what_its_threat_model_grants,
    gives_poison_to_train_on,
)
