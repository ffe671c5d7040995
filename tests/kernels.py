"""``python -m tests.kernels [ARGUMENT...]``: run the numeric tests with the instructions of other processors.

NumPy, SciPy and PyTorch choose their kernels by the processor, and kernels round differently. A test that passes with
some and fails with others says nothing about the code. What follows goes to pytest; by default the numeric tests.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

import torch

NUMERIC = ("tests/learners", "tests/attacks", "tests/defenses", "tests/clipping")

# The oldest that x86-64 machines have, and those of most: `OPENBLAS_CORETYPE`, `ATEN_CPU_CAPABILITY`.
_OLDEST, _AVX2 = ("Nehalem", "default"), ("Haswell", "avx2")
# The machine's own kernels run in all other tests.
_OTHERS = {"DEFAULT": [_OLDEST], "AVX2": [_OLDEST, _AVX2], "AVX512": [_OLDEST, _AVX2]}


def main(arguments: Sequence[str]) -> int:
    """Run the tests once for every set of kernels; returns the first exit status that is not 0."""
    capability = torch.backends.cpu.get_cpu_capability()
    others = _OTHERS.get(capability, [])
    if not others:
        print(f"no other kernels are known for a processor with {capability}")
    statuses = []
    for core, instructions in others:
        chosen = {"OPENBLAS_CORETYPE": core, "ATEN_CPU_CAPABILITY": instructions}
        print("==>", *(f"{name}={value}" for name, value in chosen.items()), flush=True)
        command = [sys.executable, "-m", "pytest", "-n", "2", *(arguments or NUMERIC)]
        statuses.append(subprocess.run(command, env=os.environ | chosen, check=False).returncode)
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
