"""Promises, the checks of them, and what those of every kind of object promise."""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import TypeVar

import cloudpickle
import torch
from torch import Tensor

from gradshape import _digest, _global_state

T = TypeVar("T")


class BrokenPromise(AssertionError):
    """An object does not do what all of its kind promise.

    Attributes:
        subject: label of the object.
        promise: name of the promise.
    """

    def __init__(self, subject: str, promise: str, found: str) -> None:
        super().__init__(f"{subject} breaks the promise {promise!r}: {found}")
        self.subject = subject
        self.promise = promise


@dataclass(frozen=True)
class Check:
    """One promise of one object. Calling it raises :class:`BrokenPromise` if the promise is broken.

    Attributes:
        subject: label of the object.
        promise: name of the promise; ``str(check)`` gives it, too, so that ``ids=str`` names tests.
        look: raises :class:`Unkept`, or whatever the object raises.
    """

    subject: str
    promise: str
    look: Callable[[], None]

    def __str__(self) -> str:
        return self.promise

    def __call__(self) -> None:
        try:
            # Whatever the object changes of the process's state, other checks find it as it was.
            with _global_state.restored():
                self.look()
        except Unkept as unkept:
            raise BrokenPromise(self.subject, self.promise, str(unkept)) from None
        except Exception as error:
            raised = f"{type(error).__name__} was raised: {error}"
            raise BrokenPromise(self.subject, self.promise, raised) from error


class Unkept(Exception):
    """What was found, inside a promise."""


def demand(holds: object, found: str) -> None:
    """Raise :class:`Unkept` with what was found unless ``holds``."""
    if not holds:
        raise Unkept(found)


def checks(subject: str, promises: Sequence[Callable[[T], None]], trial: T) -> list[Check]:
    """A check for each promise; a promise is a function, named by what it promises."""

    def check(promise: Callable[[T], None]) -> Check:
        return Check(subject, promise.__name__.replace("_", "-"), lambda: promise(trial))

    return [check(promise) for promise in promises]


def check_label(label: Callable[[T], str], thing: T) -> None:
    """The label can stand in a test id, and label and ``repr`` of equal objects are the same."""
    found, twin = label(thing), copy.deepcopy(thing)
    demand(re.fullmatch(r"[A-Za-z0-9._-]+", found), f"label {found!r}: expected letters, digits, '.', '-' and '_'")
    demand(label(twin) == found, f"its copy has the label {label(twin)!r}, itself {found!r}")
    demand(repr(twin) == repr(thing), f"its copy has the repr {twin!r}, itself {thing!r}")


def check_value(thing: object) -> None:
    """A copy is equal, hashes alike and has the same name by content, and no attribute can be set."""
    twin = copy.deepcopy(thing)
    demand(twin == thing, f"a copy of {thing!r} is not equal to it")
    demand(hash(twin) == hash(thing), f"a copy of {thing!r} has another hash")
    demand(_digest.name(twin) == _digest.name(thing), f"a copy of {thing!r} has another name by content")
    names = [field.name for field in fields(twin)] if is_dataclass(twin) else []
    for name in [*names, "label"]:
        try:
            setattr(twin, name, getattr(twin, name))
        except (AttributeError, TypeError):
            continue
        demand(False, f"{name} of {thing!r} can be set: expected a frozen dataclass")


def check_sent(thing: object) -> None:
    """What another process receives is equal, and has the same name by content."""
    twin = cloudpickle.loads(cloudpickle.dumps(thing))
    demand(twin == thing, f"{thing!r} was sent, and {twin!r} arrives, which is not equal to it")
    demand(_digest.name(twin) == _digest.name(thing), f"{thing!r} was sent, and arrives with another name by content")


def check_reason(reason: str | None, on: str) -> None:
    """A reason not to be used on some data is said in words."""
    found = f"unsuitable() gives {reason!r} on {on}: expected None or a reason in words"
    demand(reason is None or (isinstance(reason, str) and " " in reason.strip()), found)


@contextmanager
def untouched(arrays: dict[str, Tensor]) -> Iterator[None]:
    """Demand that nothing is written to ``arrays`` meanwhile, not even to be put back."""
    before = {name: (_digest.of(array), array._version) for name, array in arrays.items()}
    yield
    for name, array in arrays.items():
        content, version = before[name]
        demand(_digest.of(array.detach()) == content, f"{name} was changed")
        demand(array._version == version, f"{name} was written to, and put back")
        demand(not array.requires_grad, f"{name} was made to take gradients")


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Demand that nothing is drawn from the process's generators meanwhile, and that none is seeded."""
    before = _global_state.read()
    yield
    after = _global_state.read()
    for name in sorted(_global_state.GENERATORS):
        found = f"the state of {name} was changed: expected all randomness from the generator"
        demand(after[name] == before[name], found)


@contextmanager
def untouched_state() -> Iterator[None]:
    """Demand that the settings of the process and of this thread are as before."""
    before = _global_state.read()
    yield
    after = _global_state.read()
    for name in sorted(before.keys() - _global_state.GENERATORS):
        found = f"{name} is {after[name]} afterwards, and was {before[name]}: expected it to be left, or put back"
        demand(after[name] == before[name], found)


def drawing(run: Callable[[torch.Generator], T], seed: int) -> tuple[T, bool]:
    """What ``run`` gives from a generator of this seed, and whether it draws from it."""
    generator = torch.Generator().manual_seed(seed)
    before = generator.get_state()
    result = run(generator)
    return result, not torch.equal(generator.get_state(), before)
