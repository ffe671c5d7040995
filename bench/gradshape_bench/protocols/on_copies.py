"""Experiments of protocols that are not the harness's own, on copies of everything that others use, too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from gradshape.attacks import PoisonSet
from gradshape.data import Dataset, GuardedCopies, Split, own_copy
from gradshape.training import OptimizerState, TrainedModel
from gradshape_bench.jobs import AnyJob
from gradshape_bench.protocols.base import Experiment, Measurement

# The rows and numbers among what jobs hold; the rest, such as recipes and attacks, is plain values.
_ROWS = (Tensor, Split, PoisonSet, TrainedModel, OptimizerState, Mapping, tuple)


def on_copies(begin: Callable[[Dataset], Experiment], dataset: Dataset, protocol: str) -> Experiment:
    """Run an experiment that is shown copies of the rows and of all results, and of whose jobs and measurement copies
    are made in turn; its jobs are done on the rows themselves.

    Args:
        begin: begins the experiment on a data set.
        dataset: the rows.
        protocol: name of the protocol.

    Raises:
        ValueError: the protocol wrote to a copy, so that it measured something else than what was computed.
    """
    copies, given = GuardedCopies(), None
    shown = copies.copy_of_dataset(dataset)
    running = begin(shown)
    while True:
        try:
            jobs: Sequence[AnyJob] = running.send(given)  # type: ignore[arg-type]
        except StopIteration as stop:
            copies.check(f"protocol {protocol}")
            return _own_measurement(stop.value)
        copies.check(f"protocol {protocol}")
        results: Sequence[Any] = yield _own_jobs(jobs, lambda rows: dataset if rows is shown else rows)
        given = [copies.copy_of_value(f"result {place}", result) for place, result in enumerate(results)]


def _own_jobs(jobs: Sequence[AnyJob], on: Callable[[Dataset], Dataset]) -> list[AnyJob]:
    """Return the same jobs, ``on`` data sets, with copies of their rows; what several jobs hold is copied once."""
    copied: dict[int, Any] = {}

    def own(value: Any) -> Any:
        if not isinstance(value, _ROWS):
            return value
        if id(value) not in copied:
            copied[id(value)] = own_copy(value)
        return copied[id(value)]

    def own_job(job: AnyJob) -> AnyJob:
        held = {field.name: own(getattr(job, field.name)) for field in fields(job) if field.init}
        return replace(job, **{**held, "dataset": on(job.dataset)})

    return [own_job(job) for job in jobs]


def _own_measurement(measured: Measurement) -> Measurement:
    return replace(measured, metrics=own_copy(measured.metrics), details=own_copy(measured.details))
