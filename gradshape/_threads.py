"""How work is divided among the threads of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from threadpoolctl import threadpool_limits


def even_share(most: int) -> int:
    """Return the largest number up to ``most`` that torch's threads can share evenly, or ``most`` if they are more.

    Batched products are given to threads one by one: if some threads have one more, the others wait for them.
    """
    threads = torch.get_num_threads()
    return most - most % threads if most > threads else max(1, most)


class _SingleBlas:
    """Keeps the libraries of numpy and scipy to one thread while anybody wants it, whoever begins and ends first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._wanted == 0:
                self._limits = threadpool_limits(1, user_api="blas")
            self._wanted += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0 and self._limits is not None:
                self._limits.restore_original_limits()


_single_blas = _SingleBlas()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread while the block runs, which solves many small problems: at each, threads wait for another.

    Torch's threads are those of the calling thread; those of numpy and scipy belong to the process.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _single_blas:
            yield
    finally:
        torch.set_num_threads(threads)
