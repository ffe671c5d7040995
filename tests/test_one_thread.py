"""Attacks and defences that solve many small problems do so on one thread, called from anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor

from gradshape._threads import one_thread
from gradshape.attacks import (
    BackGradient,
    DataDependentSteinhardt,
    KohInfluence,
    KohKkt,
    KohMinMax,
    LabelContamination,
    LabelFlip,
    OptP,
    PrivateLearnerPoisoning,
    Steinhardt,
    SvmAscent,
)
from gradshape.defenses import RONI, TRIM, NoDefense, Sever, TargetedRONI
from tests.training.samples import blobs

SMALL = [
    *(DataDependentSteinhardt, Steinhardt, SvmAscent, LabelContamination, BackGradient, OptP),
    *(KohInfluence, KohKkt, KohMinMax, PrivateLearnerPoisoning, RONI, TargetedRONI, TRIM, Sever),
]
seen: list[int] = []


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen.clear()
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Counting(LabelFlip):
    small_problems: ClassVar[bool] = True

    def craft(self, *arguments: Any, **named: Any) -> Any:
        seen.append(torch.get_num_threads())
        return super().craft(*arguments, **named)


class CountingFilter(NoDefense):
    small_problems = True

    def keep(self, train: Any, *, generator: torch.Generator) -> Tensor | None:
        seen.append(torch.get_num_threads())
        return None


class Failing(CountingFilter):
    def keep(self, train: Any, *, generator: torch.Generator) -> Tensor | None:
        raise ValueError("no")


@pytest.mark.parametrize("kind", SMALL)
def test_those_that_solve_many_small_problems_say_so(kind: Any) -> None:
    assert kind.small_problems


def test_an_attack_computes_on_one_thread_and_gives_the_others_back() -> None:
    Counting(0.1)(blobs(rows=20), seed=0)
    assert (seen, torch.get_num_threads()) == ([1], 2)


def test_a_filter_does_so_too_even_if_it_fails() -> None:
    rows = blobs(rows=20).train
    CountingFilter().filter(rows, generator=torch.Generator())
    assert (seen, torch.get_num_threads()) == ([1], 2)
    with pytest.raises(ValueError, match="no"):
        Failing().filter(rows, generator=torch.Generator())
    assert torch.get_num_threads() == 2


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_libraries_of_numpy_are_kept_to_one_until_the_last_has_ended() -> None:
    with threadpool_limits(2, user_api="blas"):
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}
    assert torch.get_num_threads() == 2
