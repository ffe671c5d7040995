"""What threads of this process promise beyond what every engine does."""

import threading
import time
from contextlib import suppress
from typing import NoReturn

import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape.shaping import Shaper
from gradshape.training import SGD, Recipe
from gradshape_bench.engines import Failed, TimedOut, processors
from gradshape_bench.jobs import Craft, Finished, Train
from tests.bench.engines.sample import KINDS, MOONS, PATIENCE, craft, results, run, train
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
        [poison] = results(KINDS["inline"](), Craft(MOONS, NAME, Watched(0.1), recipe=None, seed=0))
    assert [device.type for device in where] == [NAME]
    assert poison.fingerprint == LabelFlip(0.1)(MOONS, seed=0).fingerprint


def test_there_is_a_processor() -> None:
    assert processors() >= 1


# Steps of an attack that would take ten seconds.
MANY = 1000


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gradshape_bench.engines.work.time", clock)
    return clock


def test_an_attack_that_takes_too_long_ends_at_its_next_step_whatever_it_catches(clock: Clock) -> None:
    steps = 0

    class Slow(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            nonlocal steps
            for steps in range(1, MANY):
                clock.now += 4
                with suppress(Exception):
                    victim.report(steps, MANY, 0.0)
                # It crafts in a thread of its own, and is not waited for at its steps.
                time.sleep(0.01)
            return super().craft(victim, count, generator=generator)

    job, other = craft(Slow(0.1)), craft()
    found = run(KINDS["inline"](limit=10.0), [[job, other]])
    failed = found[job]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TimedOut)
    assert 3 <= steps < MANY - 1
    assert isinstance(found[other], Finished)


def test_no_training_is_ended_for_what_runs_beside_it(clock: Clock) -> None:
    class Slow:
        """A part of a shaper that takes time at every step."""

        def __init__(self, seconds: float) -> None:
            self.label = f"slow_{seconds:g}"
            self.seconds = seconds

        def weights(self, norms: torch.Tensor) -> torch.Tensor:
            clock.now += self.seconds
            return torch.ones_like(norms)

    def job(seconds: float, seed: int) -> Train:
        recipe = Recipe("lr", SGD(0.5), batch_size=350, epochs=4, shaper=Shaper((Slow(seconds),)))
        return train(recipe, seed)

    # Two steps an epoch: eight steps of one second are in time, together they are not.
    good, bad = [job(1.0, seed) for seed in range(3)], job(100.0, 3)
    found = run(KINDS["inline"](limit=10.0), [[*good, bad]])
    failed = found[bad]
    assert isinstance(failed, Failed)
    assert str(failed.error) == "training lr with slow_100 (seed 3) on two_moons took more than 10 s, the limit of " + (
        "--case-timeout"
    )
    assert all(isinstance(found[each], Finished) for each in good)


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, pytest.skip.Exception])
def test_what_would_end_a_program_ends_its_job(error: type[BaseException]) -> None:
    class Ending(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> NoReturn:
            raise error("enough")

    job, other = craft(Ending(0.1)), craft()
    found = run(KINDS["inline"](), [[job], [other]])
    failed = found[job]
    assert isinstance(failed, Failed)
    assert str(failed.error) == f"{error.__name__}: enough"
    assert isinstance(found[other], Finished)
