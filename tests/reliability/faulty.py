"""Attacks, defences and parts of shapers that hang, crash or stop their process; suites of inner runs import them."""

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape.defenses import FILTER, Assumptions, Defense, Suspect
from gradshape.training import AnyRecipe


def _loop() -> None:
    while True:
        # Not as fast as it could be: others use this processor, too.
        time.sleep(0.001)


def _stubborn() -> None:
    """Go on whatever is raised."""
    while True:
        with suppress(BaseException):
            time.sleep(0.05)


def _deadlock() -> None:
    """Wait for ever in native code that holds the interpreter's lock, so that no other thread runs either."""
    mutex = ctypes.create_string_buffer(64)
    libc = ctypes.PyDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def _no_memory() -> None:
    raise MemoryError("no room on the shelf")


WAYS: dict[str, Callable[[], object]] = {
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "memory": _no_memory,
    "allocate": lambda: torch.empty(1 << 60),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "loop": _loop,
    "sleep": lambda: time.sleep(1e9),
    "stubborn": _stubborn,
    "deadlock": _deadlock,
    "slow": lambda: time.sleep(0.5),
}


def go(way: str) -> None:
    """Take that way, after leaving a file in the folder of ``$FAULTY``, if that is set, that names way and process."""
    if "FAULTY" in os.environ:
        Path(os.environ["FAULTY"], f"{way}-{os.getpid()}").touch()
    # A crash that is meant leaves no image of the memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    WAYS[way]()


@dataclass(frozen=True)
class Faulty(LabelFlip):
    """Label flips, if crafting them ever ends."""

    way: str = "slow"

    @property
    def label(self) -> str:
        return f"{self.way}_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        go(self.way)
        return super().craft(victim, count, generator=generator)


@dataclass(frozen=True)
class FaultyFilter(Defense):
    """Keeps all rows, if it ever ends."""

    assumptions: ClassVar[Assumptions] = FILTER

    way: str

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"{self.way}_filter"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        go(self.way)
        return None


@dataclass(frozen=True)
class FaultyPart:
    """A part of a shaper that weights all samples alike, if it ever does."""

    way: str

    @property
    def label(self) -> str:
        return self.way

    def weights(self, norms: Tensor) -> Tensor:
        go(self.way)
        return torch.ones_like(norms)


class Endless(nn.Module):
    """A network that never returns from a training batch, though it does from the few rows that it is judged by."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() > 1 and len(x) > 2:
            go("sleep")
        logits: Tensor = self.layer(x.flatten(1))
        return logits
