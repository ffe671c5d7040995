"""A shaper that breaks a promise is caught, by the promise's name and with the value."""

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape.shaping import Noise, Part, Shaper
from gradshape.testing import BrokenPromise, check_shaper, shaper_checks
from gradshape.testing.shaper import PROMISES, gives_the_same_on_the_device
from tests.pretend import NAME, pretend_device
from tests.testing.broken import broken_by, names

_calls = itertools.count()


@dataclass(frozen=True)
class Weigh:
    """A part that is used as it is, for one victim after the other."""

    name: str = "damp"
    samplewise: bool = True

    @property
    def label(self) -> str:
        return self.name

    def weights(self, norms: Tensor) -> Tensor:
        return WEIGHTS.get(self.name, _damp)(norms)


def _damp(norms: Tensor) -> Tensor:
    return 1 / (1 + norms)


def _moved(weights: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return weights


WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "one-for-all": lambda norms: norms.sum(),
    "divides": lambda norms: 2 / norms,
    "overflows": lambda norms: norms / (1 + norms),
    "writes": lambda norms: norms.clamp_(max=1) * 0 + 1,
    "moves": lambda norms: _moved(_damp(norms)),
    "restless": lambda norms: torch.full_like(norms, 1.0 + next(_calls)),
    "by-place": lambda norms: torch.linspace(0, 1, norms.shape[-1]).to(norms).expand(norms.shape),
    "share": lambda norms: norms / norms.sum(-1, keepdim=True),
    "cpu": lambda norms: norms * torch.tensor([2.0], dtype=norms.dtype),
}


class Unfrozen(Weigh):
    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class ForgetsItsName(Weigh):
    def __reduce__(self) -> Any:
        return type(self), ()

    def __deepcopy__(self, memo: object) -> "ForgetsItsName":
        return ForgetsItsName(self.name)


class Boasts(Weigh):
    def bound(self, before: float) -> float:
        return min(before, 0.5)


@dataclass(frozen=True)
class Learns:
    """A part that is used for all victims at once: ``1 / (1 + seen)``, where what is seen is ``how``."""

    how: str = "honest"
    samplewise: bool = True

    @property
    def label(self) -> str:
        return self.how

    @property
    def learns(self) -> bool:
        return True

    @property
    def kind(self) -> Hashable:
        return self

    def weights(self, norms: Tensor) -> Tensor:
        return torch.ones_like(norms)

    @classmethod
    def over(cls, parts: "Sequence[Learns]", *, device: torch.device, dtype: torch.dtype) -> "Running":
        return Running(parts[0].how, torch.zeros(len(parts), 1, device=device, dtype=dtype))


class Running:
    def __init__(self, how: str, seen: Tensor) -> None:
        self._how = how
        self._seen = seen

    def weights(self, norms: Tensor) -> Tensor:
        seen = self._seen.mean(0, keepdim=True) if self._how == "averages" else self._seen
        weights = (1 / (1 + seen)).expand(norms.shape).clone()
        if self._how == "doubles":
            return 2 * weights
        return weights

    def observe(self, norms: Tensor) -> None:
        if self._how == "counts":
            self._seen = self._seen + 1
        elif self._how == "sums":
            self._seen = self._seen + norms.sum(1, keepdim=True)
        elif norms.shape[1]:
            largest = torch.where(norms.isfinite(), norms, 0).amax(1, keepdim=True)
            self._seen = self._seen + largest

    def keep(self, victims: Tensor) -> None:
        if self._how != "stays":
            self._seen = self._seen[victims]
        else:
            self._seen = self._seen[: len(victims)]


def unknown_noise() -> Noise:
    noise = Noise(1.0)
    object.__setattr__(noise, "std", math.nan)
    return noise


BROKEN: list[tuple[Shaper | Part, str, str]] = [
    (Weigh("my part=1"), "has-a-label-for-ids", "'my part=1'"),
    (Unfrozen(), "is-a-frozen-value", "can be set"),
    (ForgetsItsName("other"), "can-be-sent-to-a-process", "not equal"),
    (Weigh("one-for-all"), "gives-one-weight-a-norm", "() weights"),
    (Weigh("divides"), "gives-finite-weights", "[inf] for norm [0.0]"),
    (Weigh("overflows"), "is-not-spoiled-by-a-norm-that-is-not-finite", "nan"),
    (Weigh("share"), "is-not-spoiled-by-a-norm-that-is-not-finite", "nan"),
    (Learns("sums"), "learns-nothing-from-norms-that-are-not-finite", "nan"),
    (Learns("counts"), "learns-nothing-from-an-empty-batch", "without rows"),
    (Weigh("writes"), "writes-nothing-to-the-norms", "norms was changed"),
    (Weigh("moves"), "leaves-the-state-of-the-process-alone", "torch's default dtype is torch.float64"),
    (Weigh("restless"), "gives-the-same-weights-again", "two calls"),
    (Weigh("by-place"), "weights-rows-wherever-they-stand", "permuted rows"),
    (Weigh("share"), "weights-chunks-alike-if-it-says-so", "one by one"),
    (Learns("averages"), "weights-in-a-stack-as-alone", "of victim 1 in a stack of 5"),
    (Learns("doubles"), "weights-in-a-stack-as-by-its-parts", "such as 2, expected 1"),
    (Weigh("share"), "sees-its-own-batch-alone", "rows of others"),
    (Learns("stays"), "goes-on-when-others-leave-the-stack", "others left"),
    (Boasts(), "bounds-norms-as-it-says", "none exceeds 0.5"),
    (unknown_noise(), "adds-the-noise-that-it-says", "nan"),
    (Weigh("restless"), "trains-victims-together-as-alone", "in a stack of 2"),
]


@pytest.mark.parametrize(
    ("shaper", "promise", "value"), BROKEN, ids=[f"{promise}-{place}" for place, (_, promise, _) in enumerate(BROKEN)]
)
def test_a_broken_promise_is_named_with_the_value(shaper: Shaper | Part, promise: str, value: str) -> None:
    found = broken_by(shaper_checks(shaper))
    assert value in found[promise]
    assert shaper.label in found[promise]


def test_no_promise_is_vacuous() -> None:
    assert {promise for _, promise, _ in BROKEN} == names(PROMISES)


@pytest.mark.parametrize("part", [Weigh(), Weigh("share", samplewise=False), Learns()], ids=lambda part: part.label)
def test_an_honest_part_breaks_none(part: Part) -> None:
    assert broken_by(shaper_checks(part)) == {}
    check_shaper(Shaper((part, Noise(0.1))))


def test_the_first_broken_promise_is_raised() -> None:
    with pytest.raises(BrokenPromise, match="divides breaks the promise 'gives-finite-weights'"):
        check_shaper(Weigh("divides"))


def test_a_device_that_is_forgotten_is_found() -> None:
    [name] = names([gives_the_same_on_the_device])
    with pretend_device():
        assert "same device" in broken_by(shaper_checks(Weigh("cpu"), device=NAME))[name]
        assert broken_by(shaper_checks(Weigh(), device=NAME)) == {}
