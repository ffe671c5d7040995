"""Jobs in this process: as many bundles at once as there are processors, each on one of them."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, cast

import torch
from threadpoolctl import threadpool_limits

from bench.cache import Finished
from bench.engines.memory import keep_freed_memory
from bench.jobs import Craft, Filter, Job, Train
from gradshape import _seeds
from gradshape.attacks import Crafting, PoisonSet
from gradshape.defenses import Defense, Suspect
from gradshape.training import Progress, train_stacks

Emit = Callable[[Job, Finished], None]
Watch = Callable[[object, Progress | tuple[str, Crafting]], None]
Bundle = Sequence[Job]


class LocalEngine:
    """Runs bundles of jobs; the jobs of a bundle are done together.

    A stack's matrix products are too small to gain much from a second processor and lose much where processors
    are shared with others, so every bundle keeps to one, and several bundles run side by side.

    Args:
        workers: bundles at once.
        max_memory: bytes that all stacks together may take, roughly.
        watch: called with a bundle's identity after every epoch, and with an attack's label and its progress after
            every step of it, from any thread.
    """

    def __init__(self, *, workers: int, max_memory: int, watch: Watch | None = None) -> None:
        keep_freed_memory()
        self._workers = workers
        self._max_memory = max(1, max_memory // workers)
        self._watch = watch
        self._stopping = threading.Event()

    @property
    def workers(self) -> int:
        """Bundles at once."""
        return self._workers

    def run(self, bundles: Sequence[Bundle], run_bundle: Callable[[Bundle], None]) -> None:
        """Call ``run_bundle`` for every bundle; the first error stops the bundles that have not begun.

        Interrupts are passed on once the running bundles noticed them.
        """
        if len(bundles) == 1 or self._workers == 1:
            for bundle in bundles:
                with _one_thread():
                    run_bundle(bundle)
            return
        with _one_thread(), ThreadPoolExecutor(self._workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures: set[Future[None]] = {pool.submit(run_bundle, bundle) for bundle in bundles}
            try:
                while futures:
                    done, futures = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            except BaseException:
                self._stopping.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                self._stopping.clear()

    def compute(self, bundle: Bundle, emit: Emit) -> None:
        """Do the jobs of one bundle; ``emit`` gets each as it is finished."""
        training = [job for job in bundle if isinstance(job, Train)]
        for job in bundle:
            if isinstance(job, Train):
                continue
            began = time.perf_counter()
            if isinstance(job, Craft):
                result: Any = self._craft(job)
            else:
                result, seconds = filtered(cast("Filter", job))
                began = time.perf_counter() - seconds
            emit(job, Finished(result, time.perf_counter() - began))
        if training:
            self._train(training, emit)

    def _craft(self, job: Craft) -> PoisonSet:
        identity = object()

        def after_step(crafting: Crafting) -> None:
            if self._stopping.is_set():
                raise Stopped
            if self._watch is not None:
                self._watch(identity, (job.attack.label, crafting))

        return job.attack(
            job.dataset,
            seed=job.seed,
            recipe=job.recipe,
            target=job.target,
            wanted=job.wanted,
            networks=job.networks,
            progress=after_step,
            device=job.device,
        )

    def _train(self, jobs: Sequence[Train], emit: Emit) -> None:
        identity = object()

        def after_epoch(progress: Progress) -> None:
            if self._stopping.is_set():
                raise Stopped
            if self._watch is not None:
                self._watch(identity, progress)

        began = time.perf_counter()
        for members, results in train_stacks(
            jobs[0].dataset,
            [job.victim for job in jobs],
            device=jobs[0].device,
            max_memory=self._max_memory,
            keep_states=any(job.keep_states for job in jobs),
            progress=after_epoch,
        ):
            share = (time.perf_counter() - began) / len(members)
            for index, result in zip(members, results, strict=True):
                emit(jobs[index], Finished(result, share))
            began = time.perf_counter()


class Stopped(Exception):
    """Another bundle failed or the run was interrupted."""


def processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # NumPy and SciPy have threads of their own.
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def filtered(job: Filter) -> tuple[torch.Tensor, float]:
    """Which rows a defence keeps, ``(N + n,)`` bool over train rows and then poison rows, and the seconds it took.

    The defence gets copies of the rows in an order that only who knows the poison could tell, and runs in a thread of
    its own, so that none of the frames above it holds the poison.
    """
    train, poison = job.dataset.train, job.poison
    x, y, present = train.x, train.y, torch.arange(len(train))
    budget, secret = 0, ""
    if poison is not None:
        replaced = torch.zeros(len(train), dtype=torch.bool)
        replaced[poison.replaced] = True
        present = torch.cat([(~replaced).nonzero().squeeze(1), len(train) + torch.arange(len(poison))])
        x, y = torch.cat([x, poison.x]), torch.cat([y, poison.y])
        budget, secret = len(poison), poison.fingerprint
    order = present[torch.randperm(len(present), generator=_seeds.stream(job.seed, "filter order", secret))]
    suspect = Suspect(
        x[order],
        y[order],
        num_classes=job.dataset.num_classes,
        assumptions=job.defense.assumptions,
        recipe=job.recipe,
        model=job.model,
        clean=train,
        targets=job.targets,
        budget=budget,
        poison=order >= len(train),
    )
    began = time.perf_counter()
    mask = _apart(job.defense, suspect, _seeds.stream(job.seed, "filter"))
    seconds = time.perf_counter() - began
    keep = torch.ones(len(y), dtype=torch.bool)
    if mask is not None:
        keep[order] = mask
    return keep, seconds


def _apart(defense: Defense, suspect: Suspect, generator: torch.Generator) -> torch.Tensor | None:
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)) as thread:
        return thread.submit(defense.filter, suspect, generator=generator).result()
