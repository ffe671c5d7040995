"""Whom worker processes that die and hang are blamed on, for workers that are played."""

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench.engines import Crashed, Failed, ProcessEngine, TimedOut
from gradshape_bench.engines import processes as module
from gradshape_bench.engines.base import Bundle, JobOutcome
from gradshape_bench.engines.work import under_way
from gradshape_bench.jobs import AnyJob, Finished, Train
from tests.bench.engines.sample import craft, run, train

RESULT = Finished(None, 0.0)


class Manner(Enum):
    """What a job does to its worker."""

    GOOD = "ends well"
    DIES = "ends the process"
    HANGS = "never ends"


class Player:
    """Plays a worker process: it does the jobs of its bundle in the order of a real one, as far as these let it.

    Args:
        manners: what each job does.
        chance: says whether the process is killed from outside while it does a bundle for the first time.
    """

    sender: Any = mock.Mock()

    def __init__(
        self,
        manners: dict[AnyJob, Manner],
        chance: Callable[[], bool],
        tell: Callable[["Player", tuple[int, JobOutcome] | None], None],
    ) -> None:
        self.left: dict[int, AnyJob] = {}
        self.again = self.begun = self.hanging = False
        self.heard = self._told = 0
        self._manners, self._chance, self._tell = manners, chance, tell

    def give(self, jobs: Bundle, packed: bytes, *, again: bool) -> None:
        self.left, self.again, self.begun = dict(enumerate(jobs)), again, True
        waiting = dict(self.left)
        while waiting:
            manners = {self._manners[job] for job in under_way(list(waiting.values()))}
            if Manner.DIES in manners or (not again and self._chance()):
                self._say(None)
                return
            if Manner.HANGS in manners:
                self.hanging = True
                return
            for place in [p for p, job in waiting.items() if job in under_way(list(waiting.values()))]:
                del waiting[place]
                self._say((place, RESULT))

    def _say(self, told: tuple[int, JobOutcome] | None) -> None:
        self._told += 1
        self._tell(self, told)

    def silence(self) -> float:
        return math.inf if self.hanging and self.heard == self._told else 0.0

    def notice_death(self) -> None:
        pass

    def exit_code(self) -> int:
        return -9


def jobs_of(kinds: Sequence[tuple[bool, Manner]]) -> dict[AnyJob, Manner]:
    return {train(seed=seed) if stacked else craft(seed=seed): manner for seed, (stacked, manner) in enumerate(kinds)}


BUNDLE = st.lists(st.tuples(st.booleans(), st.sampled_from(Manner)), min_size=1, max_size=9)


@settings(max_examples=60)
@given(kinds=st.lists(BUNDLE, max_size=4), killed=st.lists(st.booleans(), max_size=30), workers=st.integers(1, 3))
def test_every_job_ends_as_it_deserves_and_once(
    kinds: list[list[tuple[bool, Manner]]], killed: list[bool], workers: int
) -> None:
    bundles = [jobs_of(each) for each in kinds]
    manners = {job: manner for bundle in bundles for job, manner in bundle.items()}
    moments = iter(killed)
    engine = ProcessEngine(workers=workers, max_memory=1, limit=1.0)

    def play(*, max_memory: int, tell: Any, watch: Any) -> Player:
        return Player(manners, lambda: next(moments, False), tell)

    with (
        mock.patch.object(module, "WorkerProcess", play),
        mock.patch.object(module, "end"),
        mock.patch.object(module, "POLL_SECONDS", 0.0),
    ):
        found = run(engine, [list(bundle) for bundle in bundles])
    assert found.keys() == manners.keys()
    for job, manner in manners.items():
        became = found[job]
        if manner is Manner.GOOD:
            assert became is RESULT
        else:
            assert isinstance(became, Failed)
            assert isinstance(became.error, Crashed if manner is Manner.DIES else TimedOut)
            assert ("training lr" if isinstance(job, Train) else "crafting label_flip_10") in str(became.error)
