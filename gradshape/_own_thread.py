"""Calls in threads of their own, from which the caller's stack frames cannot be reached."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

import torch

from gradshape import _global_state

M = TypeVar("M")
R = TypeVar("R")

# A signal that arrives just before a wait begins does not end it: whoever waits looks up this often.
_LOOK_SECONDS = 0.2


class NobodyListens(BaseException):
    """Whoever waited for this call has left it. It is no ``Exception``, so that nobody takes it for an own error."""


@dataclass(frozen=True, eq=False)
class _Returned(Generic[R]):
    value: R


@dataclass(frozen=True, eq=False)
class _Raised:
    error: BaseException


class OwnThread(Generic[M]):
    """A thread for one call of code that is not the library's, such as ``craft`` or ``keep``.

    The thread begins without anything that belongs to its caller: neither stack frames nor thread-local state such as
    ``autocast``. Only the number of torch's threads and whether gradients are recorded are the caller's. What the call
    changes of the state of the process is restored when it ends, see :func:`gradshape._global_state.restored`.

    A call that its caller leaves, because it is interrupted, cannot be ended by force: it ends when it next tells
    something, at the latest with the process.
    """

    def __init__(self) -> None:
        self._messages: SimpleQueue[M | _Returned[object] | _Raised] = SimpleQueue()
        self._left = threading.Event()

    def tell(self, message: M) -> None:
        """Send a message to the caller, from within the call.

        Raises:
            NobodyListens: the caller was interrupted, or did not want to hear more.
        """
        if self._left.is_set():
            raise NobodyListens
        self._messages.put(message)

    def run(self, call: Callable[[], R], *, hear: Callable[[M], None] | None = None) -> R:
        """Return what ``call`` returns, or raise what it raises, with its traceback.

        Args:
            call: what runs in the thread.
            hear: called with each message in the caller's own thread. What it raises is raised at once, and the call
                ends when it next sends a message; so it does if the caller is interrupted.
        """
        torch_threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()

        def work() -> None:
            torch.set_num_threads(torch_threads)
            torch.set_grad_enabled(gradients)
            try:
                value = call()
            except BaseException as error:
                outcome: _Returned[object] | _Raised = _Raised(error)
            else:
                outcome = _Returned(value)
            # Threads that begin later, and some products, take the number that was set last in any thread.
            torch.set_num_threads(torch_threads)
            self._messages.put(outcome)
            del outcome

        thread = threading.Thread(target=work, name="gradshape: code of a user", daemon=True)
        message: M | _Returned[object] | _Raised | None = None
        try:
            with _global_state.restored():
                thread.start()
                while True:
                    try:
                        message = self._messages.get(timeout=_LOOK_SECONDS)
                    except Empty:
                        continue
                    if isinstance(message, _Returned):
                        thread.join()
                        return cast("R", message.value)
                    if isinstance(message, _Raised):
                        thread.join()
                        raise message.error
                    if hear is not None:
                        hear(message)
        finally:
            self._left.set()
            # An error refers to this frame by its traceback: it would keep itself, and all that the frame has, alive.
            message = None
