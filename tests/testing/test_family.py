"""Every family keeps its promises, and one that breaks a promise is caught, by the promise's name."""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.shaping import Clip, Noise
from gradshape.testing import Check, family_checks
from gradshape.testing._datasets import blobs, plane
from gradshape.testing.family import PROMISES, gives_the_same_on_the_device
from gradshape.training import SGD, Adam, AnyRecipe, Family, Fit, Learned, Needs, Recipe, Score, Stack, Victim, Workload
from gradshape.training._dense.family import DenseFamily
from gradshape.training._estimators.family import EstimatorFamily
from gradshape.training._single.family import SingleFamily
from gradshape.training._vmapped.family import VmappedFamily
from tests.pretend import NAME, pretend_device
from tests.testing.broken import broken_by, names

PICTURES = blobs(rows=26, test=20, shape=(1, 4, 4), spread=0.4)
SHAPED = Clip(0.5) | Noise(0.1)
OURS: list[tuple[Family, AnyRecipe, Dataset]] = [
    (DenseFamily(), Recipe("mlp1", Adam(0.01), batch_size=8, epochs=3, shaper=SHAPED), blobs()),
    (DenseFamily(), Recipe("lr", SGD(0.1), batch_size=8, epochs=3), blobs(classes=2)),
    (VmappedFamily(), Recipe("cnn", SGD(0.05, momentum=0.5), batch_size=6, epochs=3, shaper=SHAPED), PICTURES),
    (SingleFamily(), Recipe("cnn", SGD(0.05), batch_size=6, epochs=2), PICTURES),
    (SingleFamily(), Recipe("cnn_dropout", Adam(0.01), batch_size=6, epochs=2, shaper=SHAPED), PICTURES),
    (EstimatorFamily(), Fit("svm_linear"), blobs()),
    (EstimatorFamily(), Fit("ridge"), plane(rows=40, test=30)),
]
LR = Recipe("lr", SGD(0.5), batch_size=8, epochs=3)
_calls = itertools.count()


def _checks() -> list[Any]:
    return [
        pytest.param(check, id=f"{check.subject}-{recipe.model}-{check}")
        for family, recipe, data in OURS
        for check in family_checks(family, recipe, dataset=data)
    ]


@pytest.mark.parametrize("check", _checks())
def test_our_own_keep_their_promises(check: Check) -> None:
    check()


@dataclass(frozen=True)
class Broken(DenseFamily):
    """The family of dense networks, but for one thing."""

    how: str

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        known = self.how != "knows-the-cpu" or device.type == "cpu"
        return known and self.how != "refuses" and super().takes(dataset, victim, device)

    def shares(self, dataset: Dataset, victim: Victim) -> Hashable | None:
        if self.how == "restless-key":
            return next(_calls)
        if self.how == "mixes-lengths":
            victim = replace(victim, recipe=replace(victim.descent, epochs=9))
        return super().shares(dataset, victim)

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        needs = super().needs(work, group)
        return replace(needs, at_most=0) if self.how == "needs-nothing" else needs

    def stack(self, work: Workload, members: Sequence[int]) -> Any:
        victims = list(work.victims)
        if self.how == "forgets-private":
            victims = [replace(victim, private=None) for victim in victims]
        if self.how == "forgets-removed":
            victims = [replace(victim, removed=None) for victim in victims]
        return BrokenStack(super().stack(replace(work, victims=victims), members), self.how, work)


class BrokenStack:
    def __init__(self, stack: Stack, how: str, work: Workload) -> None:
        self._stack, self._how, self._work = stack, how, work

    def train(self, epoch: int) -> None:
        if self._how == "writes":
            self._work.dataset.test.x.mul_(1)
        if self._how == "moves":
            torch.set_default_dtype(torch.float64)
        if self._how == "mixes-devices":
            torch.ones(2, device=self._work.device).mul_(torch.ones(2))
        self._stack.train(epoch)

    def watched(self) -> Tensor | None:
        found = self._stack.watched()
        return found if found is None or self._how != "no-class" else found + 99

    def score(self, places: Sequence[int]) -> Score:
        found = self._stack.score(places)
        wrong = {"percent": found.accuracy * 100, "restless": found.accuracy * 0 + 1 / (2 + next(_calls))}
        wrong["company"] = found.accuracy / len(places)
        wrong["drifts"] = found.accuracy / (1 if self._work.device.type == "cpu" else 2)
        return Score(wrong.get(self._how, found.accuracy), found.finite)

    def remember(self, places: Sequence[int]) -> None:
        self._stack.remember(places)

    def learned(self, place: int) -> Learned:
        found = self._stack.learned(place)
        if self._how == "half":
            return Learned(last=found.last)
        return replace(found, last={}, best={}) if self._how == "empty" and found.last else found

    def keep(self, places: Sequence[int]) -> None:
        self._stack.keep(places)
        if self._how == "stumbles":
            self._stack.train(0)


BREAKS = {
    "refuses": {"takes-the-victims-of-its-recipe"},
    "restless-key": {"names-what-victims-share", "shares-stacks-as-it-says"},
    "mixes-lengths": {"names-what-victims-share"},
    "needs-nothing": {"states-its-needs"},
    "percent": {"measures-every-epoch"},
    "no-class": {"measures-every-epoch"},
    "restless": {"repeats-itself"},
    "company": {"depends-on-no-company"},
    "forgets-private": {"trains-on-private-rows"},
    "forgets-removed": {"knows-nothing-of-removed-rows"},
    "stumbles": {"lets-victims-leave"},
    "half": {"keeps-states-if-asked"},
    "empty": {"keeps-states-if-asked"},
    "writes": {"writes-nothing-to-rows"},
    "moves": {"leaves-the-state-of-the-process-alone"},
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_promise_is_named(how: str) -> None:
    found = broken_by(family_checks(Broken(how), LR))
    assert BREAKS[how] <= set(found)
    assert all("Broken breaks the promise" in said for said in found.values())


@pytest.mark.parametrize(
    ("how", "value"),
    [("knows-the-cpu", "takes() gives [False"), ("mixes-devices", "same device"), ("drifts", "the accuracy is")],
)
def test_a_device_that_is_forgotten_is_found(how: str, value: str) -> None:
    [name] = names([gives_the_same_on_the_device])
    with pretend_device():
        found = broken_by(family_checks(Broken(how), LR, device=NAME))
    assert found.keys() == {name}
    assert value in found[name]


def test_every_promise_can_be_broken() -> None:
    assert set().union(*BREAKS.values()) == names(PROMISES)
