"""Engines: threads or processes that run bundles of jobs."""

from gradshape_bench.engines.base import Bundle, Done, EndedByCode, Engine, Failed, Watch, as_failure, processors
from gradshape_bench.engines.processes import ProcessEngine, WorkerDied
from gradshape_bench.engines.threads import ThreadEngine

__all__ = [
    "Bundle",
    "Done",
    "EndedByCode",
    "Engine",
    "Failed",
    "ProcessEngine",
    "ThreadEngine",
    "Watch",
    "WorkerDied",
    "as_failure",
    "processors",
]
