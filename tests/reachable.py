"""What code can get at from where it is called."""

import contextvars
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor


def surroundings() -> list[Any]:
    """The variables of all stack frames above the caller's, and what belongs to the thread."""
    frame, frames = sys._getframe(1), []
    while frame is not None:
        frames.append(dict(frame.f_locals))
        frame = frame.f_back  # type: ignore[assignment]
    return [threading.current_thread(), dict(contextvars.copy_context()), frames]


def reachable(*roots: object) -> Iterator[object]:
    """What attributes, items, closures and weak references lead to; of code, only what functions carry with them."""
    seen: dict[int, object] = {}
    waiting: list[object] = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType)):
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, Tensor):
            waiting += [thing._base, thing.grad, vars(thing)]
        elif isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += thing
        elif isinstance(thing, weakref.ref):
            waiting.append(thing())
        elif isinstance(thing, MethodType):
            waiting += [thing.__self__, thing.__func__]
        elif isinstance(thing, FunctionType):
            waiting += [thing.__defaults__, thing.__kwdefaults__]
            waiting += [cell.cell_contents for cell in thing.__closure__ or ()]
        else:
            waiting += [getattr(thing, "__dict__", None)]
            waiting += [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
