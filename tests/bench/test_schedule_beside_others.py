"""Jobs that other processes finish at any moment, while a case of this one waits for them."""

import random
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench import schedule
from gradshape_bench.cache import Cache, Claim
from gradshape_bench.engines import Bundle, Done
from gradshape_bench.jobs import Finished
from gradshape_bench.schedule import Scheduler
from tests.bench.schedule_sample import GRID, metrics

TRIES = 60


class Busy(Cache):
    """A cache that others write to: a job appears in it at the first, second or some later look.

    Args:
        folder: a folder with all jobs.
        moments: decides after how many looks each one appears, and which ones are claimed.
    """

    def __init__(self, folder: Path, moments: random.Random) -> None:
        super().__init__(folder)
        self._moments = moments
        self._looks: dict[str, int] = {}

    def get(self, key: str) -> Finished[Any] | None:
        left = self._looks.setdefault(key, self._moments.choice((0, 1, 2, 3, 4, 6, 9)))
        self._looks[key] = max(0, left - 1)
        return None if left else super().get(key)

    def put(self, key: str, finished: Finished[Any]) -> bool:
        self._looks[key] = 0
        return True

    def claim(self, name: str) -> Claim | None:
        return None if self._moments.random() < 0.4 else Claim(Path(name), None)


class Recalled:
    """An engine that knows the outcome of every job, and keeps some of them to itself for a while."""

    workers = 2

    def __init__(self, whole: Cache, moments: random.Random) -> None:
        self._whole = whole
        self._moments = moments

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        running: list[Bundle] = []
        while True:
            while len(running) < self.workers and (bundle := next(bundles)):
                running.append(bundle)
            if not running:
                return
            for job in running.pop(self._moments.randrange(len(running))):
                finished = self._whole.get(job.key)
                assert finished is not None, job.description
                yield job, replace(finished, kept=False)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A cache with all jobs of the grid, and the metrics of its cases."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, metrics(GRID, folder)


@pytest.mark.parametrize("seed", range(TRIES))
def test_cases_are_measured_whenever_others_finish_their_jobs(
    whole: tuple[Path, dict[str, Any]], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_WAIT_SECONDS", 0)
    folder, expected = whole
    moments = random.Random(seed)
    asked = moments.sample(GRID, len(GRID))
    running = Scheduler(GRID, cache=Busy(folder, moments), engine=Recalled(Cache(folder), moments))
    assert {case.id: running.measure(case).measurement.metrics for case in asked} == expected
