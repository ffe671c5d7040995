"""One thread at a time for every module: hooks, replaced weights and replaced methods are seen by all threads."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

_changed = threading.Condition()
# The thread that holds a module, by the module's id; a module lives at least as long as it is held.
_holders: dict[int, int] = {}
# The modules that a thread waits for.
_awaited: dict[int, list[int]] = {}


@contextmanager
def held(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Hold ``modules`` for this thread, once no other thread holds any of them; calls may be nested.

    Raises:
        RuntimeError: the thread would wait for one that waits for it.
    """
    me = threading.get_ident()
    ids = [id(module) for module in modules]
    with _changed:
        while any(_holders.get(module, me) != me for module in ids):
            _awaited[me] = ids
            try:
                if me in _waited_for(ids, me):
                    raise RuntimeError(
                        "two threads wait for each other: each differentiates a model while it differentiates the "
                        "other's: expected nested calls to take models in the same order"
                    )
                _changed.wait()
            finally:
                del _awaited[me]
        new = [module for module in ids if module not in _holders]
        _holders.update(dict.fromkeys(new, me))
    try:
        yield
    finally:
        with _changed:
            for module in new:
                del _holders[module]
            _changed.notify_all()


def _waited_for(modules: list[int], me: int) -> set[int]:
    """Return the threads that hold any of the modules that ``me`` does not, those that these wait for, and so on."""
    found: set[int] = set()
    open_modules = [module for module in modules if _holders.get(module, me) != me]
    while open_modules:
        holder = _holders.get(open_modules.pop())
        if holder is not None and holder not in found:
            found.add(holder)
            open_modules += _awaited.get(holder, ())
    return found
