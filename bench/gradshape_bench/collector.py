"""Python's collector of garbage, which takes its turns by how many objects are made and not by how many are garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects that stay, such as ten thousand records, without a search through them again and again.

    That search would take as long as the work itself. Garbage is freed by its reference count as ever, or, where it
    holds itself, afterwards. Used as a decorator, it does so for a function.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
