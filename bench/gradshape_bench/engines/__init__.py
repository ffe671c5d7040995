"""Engines: threads or processes that run bundles of jobs."""

from gradshape_bench.engines.base import Bundle, Done, Engine, Failed, Watch, processors
from gradshape_bench.engines.faults import Crashed, JobLost, TimedOut, asked_for
from gradshape_bench.engines.processes import ProcessEngine
from gradshape_bench.engines.threads import ThreadEngine

__all__ = [
    "Bundle",
    "Crashed",
    "Done",
    "Engine",
    "Failed",
    "JobLost",
    "ProcessEngine",
    "ThreadEngine",
    "TimedOut",
    "Watch",
    "asked_for",
    "processors",
]
