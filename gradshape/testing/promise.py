"""Checks of promises, and the promises that objects of several kinds make."""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar

import cloudpickle
import torch
from torch import Tensor

from gradshape import _digest, _global_state

T = TypeVar("T")


class BrokenPromise(AssertionError):
    """Raised when an object does not do what all of its kind promise.

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
    """Raised inside a promise, with what was found."""


def demand(holds: object, found: str) -> None:
    """Raise :class:`Unkept` with what was found unless ``holds``."""
    if not holds:
        raise Unkept(found)


def checks(subject: str, promises: Sequence[Callable[[T], None]], trials: Sequence[T]) -> list[Check]:
    """Return a check for each promise, which is a function of one trial, named by what it promises."""

    def check(promise: Callable[[T], None]) -> Check:
        def look() -> None:
            for trial in trials:
                promise(trial)

        return Check(subject, promise.__name__.replace("_", "-"), look)

    return [check(promise) for promise in promises]


class Used(Protocol):
    """An object on trial."""

    def use(self) -> object:
        """Use the object once, for what objects of its kind are for."""
        ...


class Described(Used, Protocol):
    """An object on trial that is a value with a label, or made of such parts."""

    @property
    def values(self) -> Sequence[Any]:
        """The object, or its parts and the object."""
        ...

    def label(self, value: Any) -> str:
        """Return the label of a value, or of a copy of it."""
        ...


def has_a_label_for_ids(trial: Described) -> None:
    """Labels can stand in a test id; equal objects have equal labels, and the same ``repr``."""
    for value in trial.values:
        found, twin = trial.label(value), copy.deepcopy(value)
        demand(re.fullmatch(r"[A-Za-z0-9._-]+", found), f"label {found!r}: expected letters, digits, '.', '-' and '_'")
        demand(trial.label(twin) == found, f"its copy has the label {trial.label(twin)!r}, itself {found!r}")
        demand(repr(twin) == repr(value), f"its copy has the repr {twin!r}, itself {value!r}")


def is_a_frozen_value(trial: Described) -> None:
    """Objects are compared, hashed and named by their content, and no attribute can be set."""
    for value in trial.values:
        _check_value(value)


def can_be_sent_to_a_process(trial: Described) -> None:
    """What another process receives is equal, and has the same name by content."""
    for value in trial.values:
        twin = cloudpickle.loads(cloudpickle.dumps(value))
        demand(twin == value, f"{value!r} was sent, and {twin!r} arrives, which is not equal to it")
        found = f"{value!r} was sent, and arrives with another name by content"
        demand(_digest.name(twin) == _digest.name(value), found)


def leaves_the_randomness_of_the_process_alone(trial: Used) -> None:
    """All randomness comes from the generator: nothing is drawn from the process's own, and none is seeded."""
    before = _global_state.read()
    trial.use()
    after = _global_state.read()
    for name in sorted(_global_state.GENERATORS):
        found = f"the state of {name} was changed: expected all randomness from the generator"
        demand(after[name] == before[name], found)


def leaves_the_state_of_the_process_alone(trial: Used) -> None:
    """Torch's default dtype, number of threads and the like are as before, in this thread, too."""
    before = _global_state.read()
    trial.use()
    after = _global_state.read()
    for name in sorted(before.keys() - _global_state.GENERATORS):
        found = f"{name} is {after[name]} afterwards, and was {before[name]}: expected it to be left, or put back"
        demand(after[name] == before[name], found)


def _check_value(thing: object) -> None:
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


def check_reason(reason: str | None, on: str) -> None:
    """Demand that a reason not to be used on some data is said in words."""
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


def drawing(run: Callable[[torch.Generator], T], seed: int) -> tuple[T, bool]:
    """Return what ``run`` gives from a generator of this seed, and whether it draws from it."""
    generator = torch.Generator().manual_seed(seed)
    before = generator.get_state()
    result = run(generator)
    return result, not torch.equal(generator.get_state(), before)
