"""Experiments of protocols that are not the harness's own, on copies of everything that others use, too."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradshape import _global_state
from gradshape.data import Dataset, GuardedCopies
from gradshape_bench.jobs import AnyJob
from gradshape_bench.protocols.base import Experiment


def on_copies(begin: Callable[[Dataset], Experiment], dataset: Dataset, protocol: str) -> Experiment:
    """Run an experiment that is shown copies of the rows and of all results; its jobs are done on the rows themselves.

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
            with _global_state.restored():
                jobs: Sequence[AnyJob] = running.send(given)  # type: ignore[arg-type]
        except StopIteration as stop:
            copies.check(f"protocol {protocol}")
            return stop.value  # type: ignore[no-any-return]
        copies.check(f"protocol {protocol}")
        results: Sequence[Any] = yield [replace(job, dataset=dataset) if job.dataset is shown else job for job in jobs]
        given = [copies.copy_of_value(f"result {place}", result) for place, result in enumerate(results)]
