"""Where jobs run."""

from bench.engines.base import Bundle, Done, Engine, Failed, Watch, processors
from bench.engines.processes import ProcessEngine, WorkerDied
from bench.engines.threads import ThreadEngine

__all__ = ["Bundle", "Done", "Engine", "Failed", "ProcessEngine", "ThreadEngine", "Watch", "WorkerDied", "processors"]
