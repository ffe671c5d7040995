"""Opacus on one of a stack's victims, in a process of its own.

``python -m gradshape_bench.speed.opacus_process STACK DEVICE THREADS``

Who trains one victim after the other takes all steps of one before the next: one tells how long they take.

Its default forms every per-sample gradient, and what the system takes to clear that memory depends on what else the
process has allocated and freed: times of one and the same step differed threefold. So it runs as a user would run it,
alone in a process.
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
# What is asked for at once takes at least so long, so that asking does not count.
_SECONDS = 0.02


class OpacusProcess:
    """Steps of Opacus in another process.

    Attributes:
        steps: how many one call of :meth:`take` takes.
    """

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers
        self.steps = self._answer()

    def take(self) -> None:
        """Take some steps and wait for them."""
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
    """Opacus on a victim of the stack of this name.

    Raises:
        RuntimeError: its process failed.
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
    """Take steps of one of a stack's victims at every line of ``requests``, and answer each with their number."""
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
