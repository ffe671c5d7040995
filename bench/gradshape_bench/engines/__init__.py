"""Engines: threads or processes that run bundles of jobs."""

from gradshape_bench.engines.base import (
    Bundle,
    Done,
    EndedByCode,
    Engine,
    Failed,
    JobOutcome,
    Watch,
    as_failure,
    processors,
)
from gradshape_bench.engines.faults import Crashed, JobLost, TimedOut, asked_for
from gradshape_bench.engines.processes import ProcessEngine
from gradshape_bench.engines.threads import ThreadEngine

__all__ = [
    "Bundle",
    "Crashed",
    "Done",
    "EndedByCode",
    "Engine",
    "Failed",
    "JobLost",
    "JobOutcome",
    "ProcessEngine",
    "ThreadEngine",
    "TimedOut",
    "Watch",
    "as_failure",
    "asked_for",
    "processors",
]
