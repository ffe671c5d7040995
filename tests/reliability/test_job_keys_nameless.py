"""What has no reliable name is computed without the cache, and one warning says what it is."""

import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import NoDefense
from gradshape.training import SGD, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Craft
from gradshape_bench.schedule import Scheduler
from tests.bench.spy import Spy
from tests.reliability.closing_over import Plain, closing_over

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=50, epochs=1)


def circular() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


# What has no reliable name.
NAMELESS: dict[str, Callable[[], object]] = {
    "lock": threading.Lock,
    "generator": lambda: (x for x in (1, 2)),
    "set of objects": lambda: {Plain(1), Plain(2)},
    "meta tensor": lambda: torch.zeros(2, device="meta"),
    "circle": circular,
}


@pytest.mark.parametrize("make", NAMELESS.values(), ids=NAMELESS)
def test_what_has_no_reliable_name_is_warned_of_once(make: Callable[[], object]) -> None:
    attack = closing_over(make())
    jobs = [Craft(MOONS, "cpu", attack, recipe=None, seed=seed) for seed in (0, 0, 1)]
    with pytest.warns(UserWarning, match="without the cache") as caught:
        found = [job.key for job in jobs]
    assert found[0] == found[1] != found[2]
    assert not any(job.repeatable for job in jobs)
    (message,) = (str(warning.message) for warning in caught)
    assert "closing_over.<locals>.Local is computed in every session anew, without the cache: " in message


def test_what_has_no_reliable_name_is_never_taken_for_another() -> None:
    # Their classes have one name and one code, and nothing is known of what they hold.
    attacks = [closing_over(threading.Lock()) for _ in "ab"]
    with pytest.warns(UserWarning, match="without the cache"):
        assert len({Craft(MOONS, "cpu", attack, recipe=None, seed=0).key for attack in attacks}) == 2


def test_the_warning_names_the_object_and_is_no_error() -> None:
    attack = closing_over(threading.Lock())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        assert not Craft(MOONS, "cpu", attack, recipe=None, seed=0).repeatable
    assert "Local.craft uses held=<unlocked _thread.lock object" in str(caught[0].message)


def test_an_attribute_that_is_no_field_needs_no_name() -> None:
    attacks = [LabelFlip(0.1), LabelFlip(0.1)]
    for attack in attacks:
        object.__setattr__(attack, "lock", threading.Lock())
    jobs = [Craft(MOONS, "cpu", attack, recipe=None, seed=0) for attack in attacks]
    with pytest.warns(UserWarning, match="LabelFlip is computed in every session anew, without the cache"):
        assert jobs[0].key != jobs[1].key
    assert not any(job.repeatable for job in jobs)


class Failing:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> str:
        raise RuntimeError("no state")


def test_an_object_that_cannot_even_be_printed_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="of type Failing has no reliable name"):
        assert not Craft(MOONS, "cpu", closing_over(Failing()), recipe=None, seed=0).repeatable


def test_a_failing_import_system_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: object, target: object = None) -> None:
            raise RuntimeError("no imports today")

    attack = closing_over(None)
    monkeypatch.setattr(sys, "meta_path", [Finder])
    with pytest.warns(UserWarning, match="it cannot be looked through: RuntimeError: no imports today"):
        assert not Craft(MOONS, "cpu", attack, recipe=None, seed=0).repeatable


def test_a_component_that_fails_when_it_is_read_is_no_case_beside_it(tmp_path: Path) -> None:
    cases = [Case(Task("two_moons", RECIPE), LabelFlip(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0,))]
    cases.append(replace(cases[0], task=Task("two_moons", replace(RECIPE, model="none"))))
    scheduler = Scheduler(cases, cache=Cache(tmp_path), engine=Spy())
    assert scheduler.measure(cases[0]).measurement.metrics
    with pytest.raises(ValueError, match="unknown model 'none'"):
        scheduler.measure(cases[1])


def test_what_has_no_reliable_name_is_computed_and_not_kept(tmp_path: Path) -> None:
    attack = closing_over(threading.Lock())
    case = Case(Task("two_moons", RECIPE), attack, NoDefense(), scale=Scale.SMOKE, seeds=(0,))
    plain = Case(Task("two_moons", RECIPE), LabelFlip(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0,))
    with pytest.warns(UserWarning, match="without the cache"):
        measured = Scheduler([case], cache=Cache(tmp_path / "one"), engine=Spy()).measure(case)
    other = Scheduler([plain], cache=Cache(tmp_path / "other"), engine=Spy()).measure(plain)
    assert measured.measurement.metrics == other.measurement.metrics

    def kept(name: str) -> int:
        return sum(path.is_file() for path in (tmp_path / name).rglob("*") if "locks" not in path.parts)

    # The poison is not kept; the trainings are, which know it by its rows.
    assert kept("one") == kept("other") - 1
