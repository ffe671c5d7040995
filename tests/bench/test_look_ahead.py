"""What the scheduler does beside the case that is asked for, and what it keeps."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape import _digest
from gradshape.data import Dataset
from gradshape_bench.cache import Cache
from gradshape_bench.case import Rows
from gradshape_bench.engines import Bundle, Done, ProcessEngine
from gradshape_bench.jobs import AnyJob, Craft, Finished, Heartbeat, Train
from gradshape_bench.schedule import Scheduler
from tests.bench.schedule_sample import FLIPS, GRID, TASK, Broken, case
from tests.bench.spy import Spy

# Seconds that no step of a test takes, on a machine that does much else, too.
PATIENCE = 300.0
ELSEWHERE = case(task=replace(TASK, dataset="digits_38"))


@pytest.fixture
def engine() -> Spy:
    return Spy(workers=2)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics of all cases, one after another."""
    running = Scheduler(GRID, cache=Cache(tmp_path_factory.mktemp("found")), engine=Spy())
    return {case.id: running.measure(case).measurement.metrics for case in GRID}


@pytest.fixture
def running(tmp_path: Path, engine: Spy) -> Iterator[Scheduler]:
    scheduler = Scheduler([*GRID, ELSEWHERE], cache=Cache(tmp_path), engine=engine)
    yield scheduler
    scheduler.close()


def crafted(engine: Spy) -> set[Any]:
    return {job.attack for job in engine.crafted}


def test_an_idle_worker_begins_what_the_next_cases_need(tmp_path: Path) -> None:
    # The case itself never has more than two jobs to do.
    engine = Spy(workers=3)
    running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine)
    running.measure(GRID[0])
    running.rest()
    assert crafted(engine) == set(FLIPS)


def test_what_is_asked_for_comes_first(running: Scheduler, engine: Spy) -> None:
    running.measure(GRID[0])
    running.rest()
    first = [job for bundle in engine.bundles[:2] for job in bundle]
    assert {job.attack for job in first if isinstance(job, Craft)} <= {FLIPS[0]}


def test_it_looks_no_further_than_it_may(tmp_path: Path, engine: Spy) -> None:
    # The next case has the same poison, that after the next two another one.
    running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine, ahead=1)
    running.measure(GRID[0])
    running.rest()
    assert crafted(engine) == {FLIPS[0]}


def test_it_looks_no_further_than_memory_allows(tmp_path: Path, engine: Spy) -> None:
    running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine, memory=1)
    running.measure(GRID[0])
    running.rest()
    assert crafted(engine) == {FLIPS[0]}


def test_it_does_not_look_back(tmp_path: Path, engine: Spy) -> None:
    running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine)
    running.measure(GRID[-1])
    running.rest()
    assert crafted(engine) == {FLIPS[1]}


def test_other_data_is_not_begun(running: Scheduler, engine: Spy) -> None:
    running.measure(GRID[-1])
    running.rest()
    assert {job.dataset.name for job in engine.done} == {"two_moons"}


def test_numbers_are_the_same_however_far_it_looks(tmp_path: Path, found: dict[str, Any]) -> None:
    for ahead in (0, 1, 100):
        running = Scheduler(GRID, cache=Cache(tmp_path / str(ahead)), engine=Spy(workers=3), ahead=ahead)
        assert {case.id: running.measure(case).measurement.metrics for case in GRID} == found


@pytest.mark.usefixtures("forked_workers")
def test_numbers_are_the_same_in_worker_processes(tmp_path: Path, found: dict[str, Any]) -> None:
    engine = ProcessEngine(workers=2, max_memory=1 << 28)
    try:
        running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine)
        assert {case.id: running.measure(case).measurement.metrics for case in GRID} == found
        running.close()
    finally:
        engine.close()


def test_nothing_is_done_twice(running: Scheduler, engine: Spy) -> None:
    for each in GRID:
        running.measure(each)
    assert len(engine.keys) == len(set(engine.keys))


def test_what_fails_ahead_fails_where_it_is_asked_for(tmp_path: Path) -> None:
    broken = replace(case(), protocol=Broken())
    running = Scheduler([GRID[0], broken, *GRID[1:]], cache=Cache(tmp_path), engine=Spy(workers=2))
    assert running.measure(GRID[0]).measurement.metrics
    with pytest.raises(RuntimeError, match="broken experiment"):
        running.measure(broken)
    assert running.measure(GRID[1]).measurement.metrics
    running.close()


def test_nothing_is_begun_while_it_rests(tmp_path: Path, engine: Spy) -> None:
    running = Scheduler(GRID, cache=Cache(tmp_path), engine=engine, ahead=1)
    running.measure(GRID[0])
    running.rest()
    before = len(engine.bundles)
    time.sleep(0.5)
    assert len(engine.bundles) == before
    running.measure(GRID[-1])
    assert len(engine.bundles) > before


def test_after_it_is_closed_it_goes_on_where_it_was(running: Scheduler, engine: Spy, found: dict[str, Any]) -> None:
    running.measure(GRID[0])
    running.close()
    assert {case.id: running.measure(case).measurement.metrics for case in GRID} == found


def test_a_case_of_another_session_is_refused(running: Scheduler) -> None:
    stranger = case(seeds=(0, 1, 2, 3))
    with pytest.raises(ValueError, match="expected a case of this session"):
        running.measure(stranger)


class Holder:
    """Another process that has claimed the first bundle of a case, and finishes it after a while."""

    def __init__(self, folder: Path, bundle: Bundle, engine: Spy) -> None:
        self.cache, self.bundle, self.engine = Cache(folder), bundle, engine
        claim = self.cache.claim(_digest.name(bundle[0].key))
        assert claim is not None
        self.claim = claim

    def finish(self) -> None:
        for job, became in self.engine.run(iter([self.bundle])):
            assert isinstance(became, Finished)
            self.cache.put(job.key, became)
        self.claim.release()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_another_process_does_is_waited_for_and_not_done_again(workers: int, tmp_path: Path) -> None:
    first = Spy()
    Scheduler([GRID[0]], cache=Cache(tmp_path / "first"), engine=first).measure(GRID[0])
    engine = Spy(workers=workers)
    holder = Holder(tmp_path / "shared", first.bundles[0], Spy())
    finishing = threading.Timer(0.5, holder.finish)
    finishing.start()
    running = Scheduler(GRID, cache=Cache(tmp_path / "shared"), engine=engine)
    running.measure(GRID[0])
    running.close()
    assert not set(engine.keys) & {job.key for job in first.bundles[0]}


def test_while_another_process_is_at_it_the_next_cases_are_begun(tmp_path: Path) -> None:
    first = Spy()
    Scheduler([GRID[0]], cache=Cache(tmp_path / "first"), engine=first).measure(GRID[0])
    crafts = [bundle for bundle in first.bundles if not isinstance(bundle[0], Train)]
    holders = [Holder(tmp_path / "shared", bundle, Spy()) for bundle in crafts]
    begun = threading.Event()

    def note(job: AnyJob) -> None:
        if isinstance(job, Craft):
            begun.set()

    def finish() -> None:
        begun.wait(PATIENCE)
        for holder in holders:
            holder.finish()

    finishing = threading.Thread(target=finish)
    finishing.start()
    engine = Spy(refuse=note)
    running = Scheduler(GRID, cache=Cache(tmp_path / "shared"), engine=engine)
    running.measure(GRID[0])
    running.rest()
    finishing.join()
    assert crafted(engine) == {FLIPS[1]}


class Slow(Spy):
    """Waits before it trains, so that another process meets it at work."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work, self.go_on = threading.Event(), threading.Event()

    def perform(self, bundle: Bundle, heartbeat: Heartbeat) -> Iterator[Done]:
        if isinstance(bundle[0], Train) and bundle[0].poison is not None:
            self.at_work.set()
            assert self.go_on.wait(60)
        yield from super().perform(bundle, heartbeat)


def test_what_another_process_trains_for_a_companion_is_not_trained_again(tmp_path: Path) -> None:
    slow, engine = Slow(), Spy()
    other = threading.Thread(target=Scheduler(GRID, cache=Cache(tmp_path), engine=slow).measure, args=(GRID[0],))
    other.start()
    assert slow.at_work.wait(60)
    threading.Timer(0.5, slow.go_on.set).start()
    Scheduler(GRID, cache=Cache(tmp_path), engine=engine).measure(GRID[1])
    other.join()
    assert any(job.recipe == GRID[1].recipe and job.poison is not None for job in slow.trained)
    assert not set(engine.keys) & set(slow.keys)


def test_one_data_set_is_in_memory_at_a_time(running: Scheduler, monkeypatch: pytest.MonkeyPatch, engine: Spy) -> None:
    loaded: list[weakref.ref[Dataset]] = []
    load = Rows.load

    def watched(self: Rows, *, download: bool) -> Dataset:
        gc.collect()
        assert not any(reference() is not None for reference in loaded)
        # A new object each time, as of data that nothing else holds.
        dataset = replace(load(self, download=download), description=str(len(loaded)))
        loaded.append(weakref.ref(dataset))
        return dataset

    monkeypatch.setattr(Rows, "load", watched)
    for each in (GRID[0], ELSEWHERE, GRID[1]):
        running.measure(each)
        running.rest()
        engine.done.clear()
        engine.bundles.clear()
    assert len(loaded) == 3
