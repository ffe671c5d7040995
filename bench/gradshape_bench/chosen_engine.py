"""Which engine runs the jobs of a session."""

from gradshape_bench.cache import Cache
from gradshape_bench.engines import Engine, ProcessEngine, ThreadEngine, Watch, processors
from gradshape_bench.engines.on_ray import RayEngine
from gradshape_bench.engines.slurm import SlurmEngine
from gradshape_bench.options import EngineKind, Settings

# Worker processes take some seconds to begin, which is more than a few small cases gain by them.
_CASES_FOR_PROCESSES = 8


def uses_processes(settings: Settings, *, cases: int, workers: int) -> bool:
    """Tell whether worker processes of this machine run the jobs of a session, and not threads.

    Where nothing was asked for, they do if they save time: a job is thousands of operations of a few microseconds, for
    each of which two threads of one process wait for one another. A GPU does one at a time anyhow.
    """
    if settings.engine is EngineKind.AUTO:
        return workers > 1 and cases >= _CASES_FOR_PROCESSES and settings.device == "cpu"
    return settings.engine is EngineKind.PROCESSES


def chosen_engine(settings: Settings, *, cases: int, processes: int, cache: Cache, watch: Watch | None) -> Engine:
    """Return the engine of a process of a session.

    Args:
        settings: the options.
        cases: how many cases the session has.
        processes: how many processes run cases side by side, on this machine.
        cache: where finished jobs are kept.
        watch: called with how far a bundle is.

    Raises:
        ValueError: the engine cannot be had here.
    """
    if settings.slurm is not None:
        return SlurmEngine(
            options=settings.slurm,
            cache=cache,
            folder=settings.cache_dir / "slurm",
            max_memory=settings.max_memory,
            watch=watch,
            limit=settings.case_timeout,
        )
    if settings.ray is not None:
        return RayEngine(
            options=settings.ray,
            cache=cache,
            max_memory=settings.max_memory,
            watch=watch,
            limit=settings.case_timeout,
        )
    workers = max(1, processors() // processes)
    in_processes = uses_processes(settings, cases=cases, workers=workers)
    return (ProcessEngine if in_processes else ThreadEngine)(
        workers=workers,
        max_memory=settings.max_memory // processes,
        watch=watch,
        limit=settings.case_timeout,
    )
