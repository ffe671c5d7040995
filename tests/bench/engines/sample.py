"""Jobs that end well, badly or late, and the engines that they are given to."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradshape.attacks import Attack, LabelFlip, PoisonSet, VictimView
from gradshape.data import load
from gradshape.training import Adam, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.engines import Bundle, Engine, Failed, ProcessEngine, ThreadEngine
from gradshape_bench.engines.on_ray import RayEngine
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.engines.slurm import SlurmEngine
from gradshape_bench.engines.slurm_options import SlurmOptions
from gradshape_bench.jobs import AnyJob, Craft, Finished, Train

MOONS = load("two_moons")
RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)
LONG = replace(RECIPE, batch_size=1, epochs=500)
# Of a test that would otherwise wait for ever.
PATIENCE = 60


@dataclass(frozen=True)
class Refusing(LabelFlip):
    """An attack of a user's own, which cannot be made."""

    @property
    def label(self) -> str:
        return "refusing"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        raise RuntimeError("not on a Sunday")


@dataclass(frozen=True)
class Deadly(LabelFlip):
    """Kills its process: every time, or as long as a file is not there.

    Args:
        lives: file that the first victim leaves; empty for none.
    """

    lives: str = ""

    @property
    def label(self) -> str:
        return "deadly"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        if not self.lives or not os.path.exists(self.lives):
            if self.lives:
                with open(self.lives, "w"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)
        return super().craft(victim, count, generator=generator)


@dataclass(frozen=True)
class Waiting(LabelFlip):
    """Waits to be killed, unless a file is there that the first one leaves.

    Args:
        began: the file.
    """

    began: str = ""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        if not os.path.exists(self.began):
            with open(self.began, "w"):
                pass
            time.sleep(10 * PATIENCE)
        return super().craft(victim, count, generator=generator)


class Unspeakable(Exception):
    """Cannot leave its process."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")
        self.lock = threading.Lock()


@dataclass(frozen=True)
class Complaining(LabelFlip):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        raise Unspeakable(1, 2)


def craft(attack: Attack | None = None, seed: int = 0) -> Craft:
    return Craft(MOONS, "cpu", attack or LabelFlip(0.1), recipe=None, seed=seed)


def train(recipe: Recipe = RECIPE, seed: int = 0, **named: Any) -> Train:
    return Train(MOONS, "cpu", recipe, seed=seed, **named)


Make = Callable[..., Engine]
KINDS: dict[str, Callable[..., Engine]] = {
    "inline": lambda **named: ThreadEngine(**{"workers": 1, "max_memory": 1 << 28} | named),
    "threads": lambda **named: ThreadEngine(**{"workers": 2, "max_memory": 1 << 28} | named),
    "processes": lambda **named: ProcessEngine(**{"workers": 2, "max_memory": 1 << 28} | named),
}

# Those whose tasks put finished jobs into a cache, in a folder.
REMOTE: dict[str, Callable[..., Engine]] = {
    "slurm": lambda folder, **named: SlurmEngine(**{**_remote(folder), **_local(folder), **named}),
    "ray": lambda folder, **named: RayEngine(**{**_remote(folder), "options": RayOptions(), **named}),
}


def _remote(folder: Path) -> dict[str, Any]:
    return {"cache": Cache(folder / "jobs"), "max_memory": 1 << 28}


def _local(folder: Path) -> dict[str, Any]:
    return {"options": SlurmOptions.parse(["cluster=local", "tasks=2"]), "folder": folder / "slurm"}


ALL = (*KINDS, *REMOTE)


def made(kind: str, folder: Path, **named: Any) -> Engine:
    """An engine of any kind, whose cache, if it has one, is in a folder."""
    return REMOTE[kind](folder, **named) if kind in REMOTE else KINDS[kind](**named)


def run(engine: Engine, bundles: Iterable[Bundle | None]) -> dict[AnyJob, Finished[Any] | Failed]:
    """What became of every job; each comes back once."""
    found: dict[AnyJob, Finished[Any] | Failed] = {}
    for job, became in engine.run(iter(bundles)):
        assert job not in found
        found[job] = became
    return found


def results(engine: Engine, *jobs: AnyJob) -> list[Any]:
    """Results of jobs that are one bundle."""
    found = run(engine, [jobs])
    done = [found[job] for job in jobs]
    assert all(isinstance(became, Finished) for became in done), done
    return [became.result for became in done if isinstance(became, Finished)]


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif hasattr(one, "__dataclass_fields__"):
        assert type(one) is type(other)
        for name in one.__dataclass_fields__:
            assert_same(getattr(one, name), getattr(other, name))
    else:
        assert one == other
