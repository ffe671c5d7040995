"""Measuring the peak memory of a step in a process of its own.

``python -m gradshape_bench.speed.peak_memory METHOD MODEL BATCH DEVICE``
"""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

from gradshape_bench.speed.problems import PROBLEMS
from gradshape_bench.speed.step_methods import STEP_METHODS

_TIMEOUT_SECONDS = 300
_ROOT = Path(__file__).parents[2]


def peak(method: str, problem: str, *, batch_size: int, device: str) -> int:
    """Return the bytes by which one step raises the peak memory of a new process that holds the network and the batch.

    On a GPU this is the peak of what PyTorch allocates there.

    Raises:
        RuntimeError: the process failed; the message ends with its last output.
    """
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, method, problem, str(batch_size), device]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    if run.returncode:
        raise RuntimeError(
            f"{method}, {problem}, {batch_size} rows: status {run.returncode}: {run.stderr[-500:].strip()}"
        )
    return int(json.loads(run.stdout))


def per_sample_bytes(problem: str, *, batch_size: int) -> int:
    """Return the least bytes that a step takes if it keeps all per-sample gradients, and those of one layer twice.

    >>> per_sample_bytes("lr", batch_size=1000) // 2**20
    458
    """
    model = PROBLEMS[problem].build(torch.Generator().manual_seed(0))
    sizes = [parameter.numel() for parameter in model.parameters()]
    return 4 * batch_size * (sum(sizes) + max(sizes))


def measure(method: str, problem: str, batch_size: int, device: str) -> int:
    """Do what :func:`peak` does in this process, which is right only if it has allocated nothing large before."""
    prepared = PROBLEMS[problem].prepare(device=device, batch_size=batch_size)
    step = STEP_METHODS[method](prepared, 1e-3)
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step.take()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _forget_high_water()
    before = _high_water()
    step.take()
    return _high_water() - before


def _high_water() -> int:
    """Return the largest resident size so far, in bytes."""
    try:
        # getrusage starts from the size of the parent process, which may be larger.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024


def _forget_high_water() -> None:
    """Reset the largest size to the present one if the system allows it, so that imports do not count."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    print(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
