"""``python -m tests.kernels [ARGUMENT...]``: run the numeric tests with the instructions of other processors.

NumPy, SciPy and PyTorch choose their kernels by the processor, and kernels round differently. A test that passes with
some and fails with others says nothing about the code. What follows goes to pytest in place of the folders below. The
machine's own kernels run in all other tests.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Kernels:
    """Those of one kind of processor, by the names that the libraries give them, and the tests that run with them."""

    openblas: str
    torch: str
    tests: tuple[str, ...]


SHARED_SOLVERS = ("tests/constraints", "tests/learners", "tests/defenses/test_spectral_outliers.py")
SOLVERS_OF_ATTACKS = (
    "tests/attacks/back_gradient/test_flat_models.py",
    "tests/attacks/back_gradient/test_unrolled.py",
    "tests/attacks/feature_collision/test_simplex.py",
    "tests/attacks/koh/test_balance.py",
    "tests/attacks/koh/test_regularised_hinge.py",
    "tests/attacks/koh/test_decoys.py",
    "tests/attacks/steinhardt/test_poison_points.py",
    "tests/attacks/steinhardt/test_certificate.py",
    "tests/attacks/svm/test_hinge_gradient.py",
    "tests/attacks/svm/test_svm_solver.py",
)
# Of the promises of every attack, those that can hang on rounding; what an attack may see and draw does not.
NUMERIC = "crafts-the-same or keeps-features or passes-the-checks or gives-poison"
ATTACKS = ("tests/attacks", "-k", f"not test_every_attack_keeps_its_promises or {NUMERIC}")
# The oldest that x86-64 machines have, which differ most, get what searches and what solves, the others what solves.
OLDEST = Kernels("Nehalem", "default", (*SHARED_SOLVERS, *ATTACKS))
AVX2 = Kernels("Haswell", "avx2", (*SHARED_SOLVERS, *SOLVERS_OF_ATTACKS))
OTHERS = {"DEFAULT": [OLDEST], "AVX2": [OLDEST, AVX2], "AVX512": [OLDEST, AVX2]}


def main(arguments: Sequence[str]) -> int:
    """Run the tests once for every set of kernels; returns the first exit status that is not 0."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in OTHERS:
        print(f"no other kernels are known for a processor with {capability}")
    statuses = []
    for kernels in OTHERS.get(capability, []):
        chosen = {"OPENBLAS_CORETYPE": kernels.openblas, "ATEN_CPU_CAPABILITY": kernels.torch}
        print("==>", *(f"{name}={value}" for name, value in chosen.items()), flush=True)
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *(arguments or kernels.tests)]
        statuses.append(subprocess.run(command, env=os.environ | chosen, check=False).returncode)
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
