"""What worker processes promise beyond what every engine does."""

import errno
import json
import os
import signal
import threading
import time
import weakref
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape.data import Dataset, Units, load
from gradshape_bench.engines import Crashed, Failed, ProcessEngine
from gradshape_bench.engines.transport import Receiver, Sender, dataset_of, rows_of
from gradshape_bench.jobs import Craft, Finished
from tests.bench.engines.sample import (
    MOONS,
    Deadly,
    Waiting,
    craft,
    results,
    run,
)

DIGITS = load("digits_38")


def test_a_data_set_crosses_once(process: ProcessEngine) -> None:
    results(process, craft())
    [worker] = process._workers
    assert worker.sender.known == {MOONS.fingerprint}
    first = len(worker.sender.pack(craft(seed=1)))
    assert first < MOONS.train.x.numel() * 4 / 2
    results(process, craft(seed=2))
    assert process._workers == [worker]


def test_a_worker_keeps_the_data_set_that_it_works_on_and_no_other(process: ProcessEngine) -> None:
    for job in (craft(), Craft(DIGITS, "cpu", LabelFlip(0.1), recipe=None, seed=0), craft()):
        [poison] = results(process, job)
        [worker] = process._workers
        assert worker.sender.known == {job.dataset.fingerprint}
        assert poison.fingerprint == LabelFlip(0.1)(job.dataset, seed=0).fingerprint


def test_a_data_set_is_forgotten_before_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = Sender(), Receiver()
    first, second = sender.pack([MOONS]), sender.pack([DIGITS])
    receiver.unpack(first)
    left = weakref.ref(receiver.datasets[MOONS.fingerprint].train)
    made = list[bool]()

    def make(**rows: Any) -> Dataset:
        made.append(left() is None)
        return Dataset(**rows)

    monkeypatch.setattr("gradshape_bench.engines.transport.Dataset", make)
    [found] = receiver.unpack(second)
    assert made == [True]
    assert found.fingerprint == DIGITS.fingerprint
    assert receiver.datasets.keys() == {DIGITS.fingerprint}


@pytest.mark.parametrize("units", [None, Units((-1.0,), (1.0,)), Units((0.1, 0.0), (0.3, 7.0), shape=(2,), whole=True)])
def test_a_data_set_in_parts_of_plain_values_is_put_together_again(units: Units | None) -> None:
    given = replace(MOONS, units=units)
    described, rows = rows_of(given)
    found = dataset_of(json.loads(json.dumps(described)), rows)
    assert found.fingerprint == given.fingerprint
    assert (found.name, found.units, found.description) == (given.name, units, given.description)
    others = {name: part[::-1].copy() for name, part in rows.items()}
    with pytest.raises(ValueError, match="not those that were sent"):
        dataset_of(described, others)


def test_what_cannot_be_read_costs_no_data_set_that_came_with_it() -> None:
    class Unreadable:
        def __reduce__(self) -> tuple[Any, ...]:
            return int, ("no number",)

    sender, receiver = Sender(), Receiver()
    with pytest.raises(ValueError, match="no number"):
        receiver.unpack(sender.pack([Unreadable(), MOONS]))
    [found] = receiver.unpack(sender.pack([MOONS]))
    assert found.fingerprint == MOONS.fingerprint


def test_a_few_rows_of_a_large_tensor_cross_alone() -> None:
    large = torch.zeros(1_000_000)
    assert len(Sender().pack(large[:10])) < 10_000


def test_a_worker_that_dies_costs_its_bundle_and_a_line(
    process: ProcessEngine, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job, others = craft(Deadly(0.1, lives=str(tmp_path / "lives"))), [craft(seed=seed) for seed in range(3)]
    found = run(process, [[others[0], job, others[1]], [others[2]]])
    assert all(isinstance(found[each], Finished) for each in (job, *others))
    assert caplog.text.count("a worker process ended by SIGKILL") == 1


def test_a_job_that_kills_every_worker_fails(process: ProcessEngine) -> None:
    job, other = craft(Deadly(0.1)), craft()
    found = run(process, [[job], [other]])
    failed = found[job]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Crashed)
    assert "crafting deadly (seed 0) on two_moons ended its process twice, by SIGKILL" in str(failed.error)
    assert isinstance(found[other], Finished)


def test_a_worker_killed_from_outside_is_replaced(process: ProcessEngine, tmp_path: Path) -> None:
    results(process, craft())
    [worker] = process._workers
    pid, began = worker.pid, tmp_path / "began"
    assert pid is not None

    def kill() -> None:
        while not began.exists():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    assert len(run(process, [[craft(Waiting(0.1, began=str(began)))], [craft(seed=1)]])) == 2
    assert process._workers != [worker]


def test_what_cannot_be_sent_fails_alone(process: ProcessEngine) -> None:
    lock = threading.Lock()

    @dataclass(frozen=True)
    class Holding(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            with lock:
                return super().craft(victim, count, generator=generator)

    job, beside, other = craft(Holding(0.1)), craft(seed=1), craft()
    found = run(process, [[beside, job], [other]])
    assert isinstance(found[job], Failed)
    assert isinstance(found[beside], Finished)
    assert isinstance(found[other], Finished)


def test_closed_processes_are_gone_and_others_may_begin(
    process: ProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[BaseProcess] = []
    monkeypatch.setattr(BaseProcess, "kill", killed.append)
    # However slow the machine is: an idle process ends by itself when it is asked to.
    monkeypatch.setattr("gradshape_bench.engines.worker_process._GRACE", 30.0)
    results(process, craft())
    [worker] = process._workers
    pid = worker.pid
    assert pid is not None
    process.close()
    assert killed == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    results(process, craft())


def test_a_process_that_cannot_be_started_is_an_error_of_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(BaseProcess, "start", refuse)
    jobs = [craft(seed=seed) for seed in range(2)]
    found = run(ProcessEngine(workers=2, max_memory=1 << 28), [[job] for job in jobs])
    for job in jobs:
        failed = found[job]
        assert isinstance(failed, Failed)
        assert "no worker process can be started: [Errno 11] Resource temporarily unavailable" in str(failed.error)


@pytest.mark.usefixtures("forked_workers")
def test_a_run_goes_on_with_the_processes_that_could_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, started = BaseProcess.start, list[BaseProcess]()

    def first(self: BaseProcess) -> None:
        if started:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr(BaseProcess, "start", first)
    engine = ProcessEngine(workers=2, max_memory=1 << 28)
    try:
        found = run(engine, [[craft(seed=seed)] for seed in range(3)])
    finally:
        engine.close()
    assert len(found) == 3
    assert all(isinstance(became, Finished) for became in found.values())
    assert caplog.text.count("no further worker process can be started") == 1
