"""The harness: cases declared as pytest tests, their jobs planned and done, and what they measured judged and shown."""

from gradshape_bench.case import ExpectedFailure, Scale, Smoke, Task
from gradshape_bench.matrix import Expect, Matrix, Sized, benchmark_cases
from gradshape_bench.protocols import WorstCase, WorstOf
from gradshape_bench.session import CaseOutcome
from gradshape_bench.verdict import Threshold

__all__ = [
    "CaseOutcome",
    "Expect",
    "ExpectedFailure",
    "Matrix",
    "Scale",
    "Sized",
    "Smoke",
    "Task",
    "Threshold",
    "WorstCase",
    "WorstOf",
    "benchmark_cases",
]
