"""An attack that breaks a promise is caught, by the promise's name and with the value."""

import gc
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gradshape.attacks import Aims, Attack, Knowledge, LabelFlip, PoisonSet, TargetedAttack, ThreatModel, VictimView
from gradshape.attacks.threat import ON_TARGETS
from gradshape.data import Dataset
from gradshape.testing import BrokenPromise, attack_checks, check_attack
from gradshape.testing._datasets import blobs
from gradshape.testing.attack import PROMISES, gives_the_same_on_the_device
from tests.pretend import NAME, pretend_device
from tests.testing.broken import broken_by, names

_calls = itertools.count()
NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class Copies(Attack):
    """Honest copies of rows."""

    name: str = "copies"

    threat: ClassVar[ThreatModel] = LabelFlip.threat

    @property
    def label(self) -> str:
        return self.name

    def budget(self, train_rows: int) -> int:
        return 6

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        source = torch.randint(len(victim.train), (count,), generator=generator)
        source_there = source.to(victim.device)
        return PoisonSet(victim.train.x[source_there], victim.train.y[source_there], source=source, replaced=NONE)


class Unfrozen(Copies):
    """Plain classes do not stop who sets an attribute."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class ForgetsItsName(Copies):
    """What arrives in another process is not what was sent."""

    def __reduce__(self) -> Any:
        return type(self), ()

    def __deepcopy__(self, memo: object) -> "ForgetsItsName":
        return ForgetsItsName(self.name)


class Strays(Copies):
    @property
    def family(self) -> str:
        return "others"


class Mumbles(Copies):
    def unsuitable(self, dataset: Dataset) -> str | None:
        return "no" if dataset.regression else super().unsuitable(dataset)


class Altered(Copies):
    """Honest copies, and what ``name`` makes of them."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        return ALTERED[self.name](super().craft(victim, count, generator=generator))


ALTERED: dict[str, Callable[[PoisonSet], PoisonSet]] = {
    "too-few": lambda p: PoisonSet(p.x[1:], p.y[1:], source=p.source[1:], replaced=p.replaced),
    "unequal": lambda p: replace(p, source=p.source[1:]),
    "double": lambda p: replace(p, x=p.x.double()),
    "flat": lambda p: replace(p, x=p.x.flatten(1)[:, 1:]),
    "negative": lambda p: replace(p, x=p.x - 1),
    "nan": lambda p: replace(p, x=p.x * math.nan),
    "label": lambda p: replace(p, y=p.y + 9),
    "source": lambda p: replace(p, source=p.source + 1000),
    "replaced": lambda p: replace(p, replaced=torch.tensor([2, 2])),
    "note": lambda p: replace(p, notes={"bound": math.nan}),
    "unseeded": lambda p: replace(p, x=torch.rand(p.x.shape, generator=torch.Generator().manual_seed(next(_calls)))),
    "unmoved": lambda p: replace(
        p, x=torch.zeros_like(p.x), y=torch.zeros_like(p.y), source=torch.zeros_like(p.source)
    ),
    "global": lambda p: replace(p, x=p.x * torch.rand(1)),
    "global-numpy": lambda p: replace(p, x=p.x * np.random.rand()),  # noqa: NPY002
    "global-python": lambda p: replace(p, x=p.x * random.random()),
}


class Writes(Copies):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        victim.train.x.mul_(0.5)
        return super().craft(victim, count, generator=generator)


class PutsBack(Copies):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        victim.train.x[0] = victim.train.x[0].clone()
        return super().craft(victim, count, generator=generator)


class WritesThroughNumpy(Copies):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        victim.train.y.numpy()[0] = 1
        return super().craft(victim, count, generator=generator)


class Moves(Copies):
    """Leaves a setting of the process as it needed it."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        MOVES[self.name]()
        return super().craft(victim, count, generator=generator)


MOVES: dict[str, Callable[[], object]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "gradients": lambda: torch.set_grad_enabled(False),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "errors": lambda: np.seterr(all="raise"),
}


class Lends(Copies):
    """Draws, and hands out what it was shown itself."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        rows = slice(int(torch.randint(9, (), generator=generator)), None)
        x, y = victim.train.x[rows][:count], victim.train.y[rows][:count]
        return PoisonSet(x, y, source=torch.full((count,), -1), replaced=NONE)


class Reuses(Copies):
    """Crafts all poison in the same memory."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        made = super().craft(victim, count, generator=generator)
        return replace(made, x=_memory.setdefault((count, *victim.input_shape), torch.empty_like(made.x)).copy_(made.x))


_memory: dict[tuple[int, ...], torch.Tensor] = {}


class Spies(Copies):
    """Looks for the data among all that there is."""

    threat: ClassVar[ThreatModel] = replace(LabelFlip.threat, training_data=Knowledge.NONE)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        found = [each for each in gc.get_objects() if type(each) is Dataset]
        fitting = [each for each in found if each.input_shape == victim.input_shape]
        everything = float(torch.stack([each.train.x.sum() for each in fitting]).sum())
        x = torch.full((count, *victim.input_shape), everything % 1)
        return PoisonSet.added(x, torch.randint(2, (count,), generator=generator))


class Asks(Copies):
    """Asks for what it is not granted."""

    threat: ClassVar[ThreatModel] = replace(LabelFlip.threat, training_data=Knowledge.NONE)


class StaysOnTheCpu(Copies):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        source = torch.randint(len(victim.train), (count,), generator=generator)
        shift = torch.rand(count, generator=generator) / 2
        x = victim.train.x[source.to(victim.device)]
        return PoisonSet(
            x * shift.view(-1, *[1] * (x.ndim - 1)), torch.zeros_like(source), source=source, replaced=NONE
        )


@dataclass(frozen=True)
class Aims7(TargetedAttack):
    """More rows for a target than it may make, or none that says whom it is for."""

    aimless: bool = False

    threat: ClassVar[ThreatModel] = ON_TARGETS

    @property
    def label(self) -> str:
        return "aims"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x, y = victim.candidates.x[:7].clone(), victim.intended[:1].repeat(7)
        aims = Aims(torch.zeros(7, dtype=torch.int64), torch.arange(7), torch.zeros(7))
        return PoisonSet(
            x, y, source=torch.full((7,), -1), replaced=NONE, notes={}, aims=None if self.aimless else aims
        )


BROKEN: list[tuple[Attack, str, str]] = [
    (Copies("my attack=1"), "has-a-label-for-ids", "'my attack=1'"),
    (Strays(), "begins-its-label-with-its-family", "'others'"),
    (Unfrozen(), "is-a-frozen-value", "can be set"),
    (ForgetsItsName("other"), "can-be-sent-to-a-process", "not equal"),
    (Mumbles(), "says-in-words-why-it-is-unsuitable", "'no'"),
    (Altered("too-few"), "keeps-the-budget", "5 rows"),
    (Altered("unequal"), "keeps-the-budget", "'source': 5"),
    (Aims7(6), "keeps-the-budget", "7 rows for one target"),
    (Aims7(6, aimless=True), "keeps-the-budget", "no aims"),
    (Altered("double"), "crafts-rows-like-the-data", "torch.float64"),
    (Altered("flat"), "crafts-rows-like-the-data", "shape"),
    (Altered("negative"), "keeps-features-in-range", "such as -"),
    (Altered("nan"), "keeps-features-in-range", "such as nan"),
    (Altered("label"), "gives-labels-of-the-task", "such as"),
    (Altered("source"), "names-rows-that-there-are", "source 1"),
    (Altered("replaced"), "names-rows-that-there-are", "[2, 2]"),
    (Altered("note"), "passes-the-checks-of-the-call", "bound=nan"),
    (Altered("unseeded"), "crafts-the-same-from-the-same-seed", "same seed"),
    (Altered("unmoved"), "crafts-anew-from-another-seed", "3 seeds"),
    (Writes(), "writes-nothing-to-what-it-is-shown", "train.x was changed"),
    (WritesThroughNumpy(), "writes-nothing-to-what-it-is-shown", "train.y was changed"),
    (PutsBack(), "writes-nothing-to-what-it-is-shown", "put back"),
    (Altered("global"), "leaves-the-randomness-of-the-process-alone", "torch's generator"),
    (Altered("global-numpy"), "leaves-the-randomness-of-the-process-alone", "NumPy's generator"),
    (Altered("global-python"), "leaves-the-randomness-of-the-process-alone", "Python's generator"),
    (Moves("dtype"), "leaves-the-state-of-the-process-alone", "torch's default dtype is torch.float64"),
    (Moves("threads"), "leaves-the-state-of-the-process-alone", "torch's number of threads is"),
    (Moves("gradients"), "leaves-the-state-of-the-process-alone", "torch's gradient mode is False"),
    (Moves("deterministic"), "leaves-the-state-of-the-process-alone", "torch's deterministic mode is (True, False)"),
    (Moves("precision"), "leaves-the-state-of-the-process-alone", "torch's float32 precision is ('medium'"),
    (Moves("errors"), "leaves-the-state-of-the-process-alone", "NumPy's handling of errors is"),
    (Lends(), "shares-no-memory-with-what-it-is-shown", "memory of train.x"),
    (Reuses(), "shares-no-memory-with-what-it-is-shown", "memory of the x that an earlier call returned"),
    (Spies(), "knows-what-its-threat-model-grants", "other train rows"),
    (Asks(), "knows-what-its-threat-model-grants", "grants no knowledge of the training data"),
    (Altered("nan"), "gives-poison-to-train-on", "diverged"),
]


@pytest.mark.parametrize(
    ("attack", "promise", "value"), BROKEN, ids=[f"{promise}-{place}" for place, (_, promise, _) in enumerate(BROKEN)]
)
def test_a_broken_promise_is_named_with_the_value(attack: Attack, promise: str, value: str) -> None:
    found = broken_by(attack_checks(attack))
    assert value in found[promise]
    assert attack.label in found[promise]


def test_no_promise_is_vacuous() -> None:
    assert {promise for _, promise, _ in BROKEN} == names(PROMISES)


def test_an_honest_attack_breaks_none() -> None:
    assert broken_by(attack_checks(Copies())) == {}
    check_attack(Copies())


@pytest.mark.parametrize("name", ["too-few", "double", "negative", "label", "source"])
def test_one_breach_breaks_its_own_promise_and_the_calls(name: str) -> None:
    found = set(broken_by(attack_checks(Altered(name)))) - {"gives-poison-to-train-on"}
    own = {promise for attack, promise, _ in BROKEN if attack == Altered(name)}
    assert found == own | {"passes-the-checks-of-the-call"}


def test_the_first_broken_promise_is_raised() -> None:
    with pytest.raises(BrokenPromise, match="'keeps-the-budget': 5 rows on two-classes, budget 6") as caught:
        check_attack(Altered("too-few"))
    assert (caught.value.subject, caught.value.promise) == ("too-few", "keeps-the-budget")


def test_a_device_that_is_forgotten_is_found() -> None:
    [name] = names([gives_the_same_on_the_device])
    with pretend_device():
        assert "same device" in broken_by(attack_checks(StaysOnTheCpu(), device=NAME))[name]
        assert broken_by(attack_checks(Copies(), device=NAME)) == {}


def test_it_is_tried_on_what_is_given() -> None:
    data = blobs(rows=10, classes=2)
    found = broken_by(attack_checks(Altered("too-few"), dataset=data))
    assert "5 rows on blobs, budget 6" in found["keeps-the-budget"]


class Never(Copies):
    def unsuitable(self, dataset: Dataset) -> str | None:
        return "it is made for the moon"


def test_who_can_be_made_on_nothing_is_told_why() -> None:
    with pytest.raises(ValueError, match=r"made for the moon.*pass dataset="):
        attack_checks(Never())
