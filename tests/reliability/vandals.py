"""Code of a user that writes to whatever it is shown, in every way there is, and does its work all the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradshape import learners, models
from gradshape.attacks import BadNetsPatch, LabelFlip, PoisonSet, VictimView
from gradshape.data import Dataset, Split
from gradshape.defenses import FILTER, Assumptions, Defense, Suspect
from gradshape.learners.registry import Array
from gradshape.shaping import Clip
from gradshape.training import AnyRecipe
from gradshape_bench.protocols import Experiment, FromScratch, Lab, Subject

DEEDS: Mapping[str, Callable[[Split], object]] = {
    "torch": lambda rows: rows.x.mul_(0.5),
    "numpy": lambda rows: rows.x.numpy().fill(0.25),
    "reordered": lambda rows: rows.x.copy_(rows.x.flip(0)),
    "labels": lambda rows: rows.y.numpy().fill(0),
    "resized": lambda rows: rows.x.resize_(1, *rows.x.shape[1:]),
    "gradients": lambda rows: rows.x.requires_grad_(),
}
# This one does no harm to a copy.
HARMLESS = "gradients"


@dataclass(frozen=True)
class VandalAttack(LabelFlip):
    """Writes to the train rows after crafting."""

    deed: str = "torch"

    @property
    def label(self) -> str:
        return f"vandal_{self.deed}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        poison = super().craft(victim, count, generator=generator)
        poison = replace(poison, x=poison.x.clone(), y=poison.y.clone())
        DEEDS[self.deed](victim.train)
        return poison


@dataclass(frozen=True)
class VandalInAdvance(LabelFlip):
    """Writes to the rows when it is asked whether it can be made on them."""

    deed: str = "torch"

    @property
    def label(self) -> str:
        return f"hasty_{self.deed}"

    def unsuitable(self, dataset: Dataset) -> str | None:
        for rows in (dataset.train, dataset.test):
            DEEDS[self.deed](rows)
        return None


@dataclass(frozen=True)
class VandalTrigger(BadNetsPatch):
    """Puts the trigger into the rows themselves."""

    @property
    def label(self) -> str:
        return "vandal_trigger"

    def triggered(self, rows: Split) -> Split:
        rows.x.zero_()
        return super().triggered(rows)


@dataclass(frozen=True)
class VandalFilter(Defense):
    """Keeps all rows and writes to those that it is shown, or to the clean ones."""

    deed: str = "torch"
    clean: bool = False

    assumptions: ClassVar[Assumptions] = replace(FILTER, knows_clean=True, source="test")

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"vandal_{self.deed}_{self.clean}"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        rows = len(train)
        DEEDS[self.deed](train.clean if self.clean else train)
        return torch.ones(rows, dtype=torch.bool)


@dataclass(frozen=True)
class VandalPart:
    """A part of a shaper that spoils the norms after it has looked at them."""

    label: str = "vandal"

    def weights(self, norms: Tensor) -> Tensor:
        weights = Clip(1.0).weights(norms)
        norms.numpy().fill(1e6)
        return weights


class VandalEstimator:
    """Predicts class 0, and spoils whatever it is given."""

    def fit(self, x: Array, y: Array, /) -> object:
        x.fill(0)
        y.fill(0)
        return self

    def predict(self, x: Array, /) -> Array:
        x.fill(0)
        return np.zeros(len(x), dtype=np.int64)


class Shifted(nn.Module):
    """Shifts its input, in place or not."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self._in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        return x.sub_(0.5) if self._in_place else x - 0.5


def _shifted(*, in_place: bool, dropout: bool) -> models.Builder:
    def build(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        inputs = int(np.prod(input_shape))
        body: list[nn.Module] = [nn.Flatten(), Shifted(in_place=in_place), nn.Linear(inputs, 8), nn.ReLU()]
        return models.Classifier(nn.Sequential(*body, *[nn.Dropout(0.3)] * dropout), nn.Linear(8, num_classes))

    return build


def register_vandals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the networks and the estimator for one test."""
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    monkeypatch.setattr(learners.registry, "_LEARNERS", dict(learners.registry._LEARNERS))
    for name, in_place in (("shifted", False), ("shifts", True)):
        models.register(f"test_{name}", _shifted(in_place=in_place, dropout=False))
        models.register(f"test_{name}_dropout", _shifted(in_place=in_place, dropout=True))
    learners.register("test_vandal", lambda seed: VandalEstimator())


@dataclass(frozen=True)
class VandalProtocol:
    """The experiment from scratch, by somebody who writes to rows or to results."""

    deed: str = "torch"
    to_results: bool = False

    @property
    def label(self) -> str:
        return f"vandal_{self.deed}_{self.to_results}"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        running = FromScratch().run(case, lab)
        jobs = next(running)
        if not self.to_results:
            DEEDS[self.deed](lab.dataset.train)
        while True:
            results: list[Any] = list((yield jobs))
            try:
                jobs = running.send(results)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            finally:
                if self.to_results:
                    for result in results:
                        getattr(result, "accuracy", torch.zeros(1)).numpy().fill(0.125)
