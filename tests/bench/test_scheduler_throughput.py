"""What the scheduler does for each job does not grow with the number of jobs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.cache import Cache
from gradshape_bench.schedule import Scheduler
from tests.bench.scheduler_throughput import Empty, cases


def looks(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch, *, together: bool) -> float:
    """How often, for each job, it is asked whether somebody has it."""
    counted = Counter[str]()
    left = Scheduler._left

    def counting(scheduler: Scheduler, jobs: Any) -> Any:
        jobs = list(jobs)
        counted["looks"] += len(jobs)
        return left(scheduler, jobs)

    asked = cases(2 * count, trainings=count, together=together)[:1]
    engine = Empty(workers=8)
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "_left", counting)
        scheduler = Scheduler(asked, cache=Cache(folder), engine=engine)
        for case in asked:
            scheduler.measure(case)
        scheduler.close()
    assert engine.done == count
    return counted["looks"] / count


@pytest.mark.parametrize("together", [True, False], ids=["stacked", "alone"])
def test_jobs_are_looked_at_a_few_times_each_however_many_there_are(
    together: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = looks(100, tmp_path / "few", monkeypatch, together=together)
    many = looks(400, tmp_path / "many", monkeypatch, together=together)
    assert many < 1.5 * few + 1


class Slow(Empty):
    """Gives its jobs back one by one, and asks for more after each."""

    asked = 0

    def run(self, bundles: Any) -> Any:
        left = list(next(bundles))
        while left:
            self.done += 1
            job = left.pop()
            yield job, self.finished
            self.asked += 1
            bundle = next(bundles)
            left += bundle or []


def test_an_idle_worker_that_asks_in_vain_costs_no_look_at_all_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [case] = cases(400, trainings=200, together=True)[:1]
    engine, searched = Slow(workers=1), list[object]()
    candidates = Scheduler._candidates

    def noting(scheduler: Scheduler, asked: Any) -> Any:
        searched.append(asked)
        return candidates(scheduler, asked)

    monkeypatch.setattr(Scheduler, "_candidates", noting)
    Scheduler([case], cache=Cache(tmp_path), engine=engine).measure(case)
    assert engine.asked >= 199
    assert len(searched) < 10
