"""Timing Opacus on one victim of a stack, in a process of its own.

``python -m gradshape_bench.speed.opacus_process STACK DEVICE THREADS``

Whoever trains victims one by one takes all steps of one before those of the next, so the time of one victim tells that
of all.

The default of Opacus forms every per-sample gradient, and how long the system takes to clear that memory depends on
what else the process has allocated and freed: times of the same step differed threefold. So Opacus runs as users run
it, alone in a process.
"""

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch

from gradshape_bench.speed.library_steps import LEARNING_RATE
from gradshape_bench.speed.stacks import STACKS
from gradshape_bench.speed.step_methods import STEP_METHODS
from gradshape_bench.speed.timing import synchronizer

_ROOT = Path(__file__).parents[2]
_WARM_UP_CALLS = 3
# Steps that are asked for at once take at least this long, so that the time for asking does not matter.
_SECONDS = 0.02


class OpacusProcess:
    """A process that takes steps of Opacus.

    Attributes:
        steps: how many steps one call of :meth:`take` takes.
    """

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers
        self.steps = self._answer()

    def take(self) -> None:
        """Let the process take steps, and wait for them."""
        self._requests.write("\n")
        self._requests.flush()
        self._answer()

    def _answer(self) -> int:
        line = self._answers.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"the process that runs Opacus said {line.strip()!r}: expected a number of steps")
        return int(line)


@contextmanager
def start_opacus(stack: str, *, device: str) -> Iterator[OpacusProcess]:
    """Start a process with Opacus on a victim of the stack of this name; end it with the context.

    Raises:
        RuntimeError: the process failed.
    """
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, stack, device, str(torch.get_num_threads())]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield OpacusProcess(process.stdin, process.stdout)
        finally:
            process.kill()


def serve(name: str, device: str, threads: int, requests: IO[str], answers: IO[str]) -> None:
    """For every line of ``requests``, take steps of a victim of the stack and write their number to ``answers``."""
    torch.set_num_threads(threads)
    stack = next(stack for stack in STACKS if stack.name == name)
    step = STEP_METHODS["opacus_hooks"](stack.problem.prepare(device=device), LEARNING_RATE)

    synchronize = synchronizer(device)

    def take() -> float:
        began = time.perf_counter()
        step.take()
        synchronize()
        return time.perf_counter() - began

    calls = math.ceil(_SECONDS / min(take() for _ in range(_WARM_UP_CALLS)))
    print(calls, file=answers, flush=True)
    for _ in requests:
        for _ in range(calls):
            take()
        print(calls, file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.stdin, sys.stdout)
