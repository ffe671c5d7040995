"""What threads of this process promise beyond what every engine does."""

import threading
import time
from typing import NoReturn

import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape_bench.engines import Failed, processors
from gradshape_bench.jobs import Craft
from tests.bench.engines.sample import KINDS, MOONS, PATIENCE, craft, results, run
from tests.pretend import NAME, pretend_device


def test_threads_run_as_many_bundles_as_there_are_workers_side_by_side() -> None:
    # Each waits for the other.
    barrier = threading.Barrier(2)

    class Meeting(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            barrier.wait(timeout=PATIENCE)
            return super().craft(victim, count, generator=generator)

    run(KINDS["threads"](), [[craft(Meeting(0.1), seed)] for seed in range(4)])
    assert not barrier.broken


def test_no_more_bundles_than_workers_run_side_by_side() -> None:
    running, most, guard = 0, 0, threading.Lock()

    class Counted(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            nonlocal running, most
            with guard:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with guard:
                running -= 1
            return super().craft(victim, count, generator=generator)

    run(KINDS["threads"](), [[craft(Counted(0.1), seed)] for seed in range(6)])
    assert most == 2


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_whatever_ends_a_thread_is_told(error: type[BaseException]) -> None:
    class Ending(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> NoReturn:
            raise error("enough")

    job = craft(Ending(0.1))
    failed = run(KINDS["threads"](), [[job]])[job]
    assert isinstance(failed, Failed)
    assert "enough" in str(failed.error)


def test_an_interrupt_reaches_who_advances_the_run() -> None:
    engine = KINDS["inline"]()

    class Interrupted(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> NoReturn:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(engine, [[craft(Interrupted(0.1))]])
    assert len(results(engine, craft())) == 1


def test_poison_is_crafted_on_the_device_of_its_job() -> None:
    where: list[torch.device] = []

    class Watched(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            where.append(victim.train.x.device)
            return super().craft(victim, count, generator=generator)

    with pretend_device():
        [poison] = results(KINDS["inline"](), Craft(MOONS, NAME, Watched(0.1), None, 0))
    assert [device.type for device in where] == [NAME]
    assert poison.fingerprint == LabelFlip(0.1)(MOONS, seed=0).fingerprint


def test_there_is_a_processor() -> None:
    assert processors() >= 1
