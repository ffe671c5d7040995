"""Engines: threads or processes that run bundles of jobs."""

from gradshape_bench.engines.base import Bundle, Done, Engine, Failed, Watch, processors
from gradshape_bench.engines.processes import ProcessEngine, WorkerDied
from gradshape_bench.engines.threads import ThreadEngine

__all__ = ["Bundle", "Done", "Engine", "Failed", "ProcessEngine", "ThreadEngine", "Watch", "WorkerDied", "processors"]
