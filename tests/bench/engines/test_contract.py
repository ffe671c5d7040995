"""What every engine promises, whatever runs its bundles."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from gradshape import models
from gradshape.attacks import Attack, LabelFlip, PoisonSet, VictimView
from gradshape.defenses import NoDefense
from gradshape.training import GradientProbe, Progress, TrainingResult
from gradshape_bench.engines import Bundle, Engine, Failed
from gradshape_bench.jobs import AnyJob, Filter, Finished
from tests.bench.engines.sample import (
    KINDS,
    LONG,
    MOONS,
    PATIENCE,
    RECIPE,
    Complaining,
    Make,
    Refusing,
    assert_same,
    craft,
    results,
    run,
    train,
)


def test_every_job_comes_back_once_with_what_it_gives(shared: Engine) -> None:
    jobs = [craft(seed=seed) for seed in range(3)]
    found = run(shared, [[job] for job in jobs])
    assert set(found) == set(jobs)
    for job in jobs:
        became = found[job]
        assert isinstance(became, Finished)
        assert became.result.fingerprint == LabelFlip(0.1)(MOONS, seed=job.seed).fingerprint
        assert became.seconds > 0


def test_a_stack_comes_back_job_by_job(shared: Engine) -> None:
    jobs = [train(seed=seed) for seed in range(3)]
    assert all(isinstance(result, TrainingResult) for result in results(shared, *jobs))


def test_results_are_the_same_to_the_last_digit_wherever_they_are_made(shared: Engine) -> None:
    poison = LabelFlip(0.1)(MOONS, seed=0)
    jobs: list[AnyJob] = [
        *(train(seed=seed, poison=poison, keep_states=True, watch=MOONS.test, keep_optimizer=True) for seed in (0, 1)),
        train(poison=poison, probe=GradientProbe()),
        Filter(MOONS, "cpu", NoDefense(), recipe=None, poison=poison, seed=0),
    ]
    here = run(KINDS["inline"](), [jobs])
    there = run(shared, [jobs])
    for job in jobs:
        mine, theirs = here[job], there[job]
        assert isinstance(mine, Finished)
        assert isinstance(theirs, Finished)
        assert_same(mine.result, theirs.result)


def test_an_error_is_the_value_of_the_job_that_failed_and_of_no_other(shared: Engine) -> None:
    bad, good = craft(Refusing(0.1)), [craft(), train(), train(seed=1)]
    found = run(shared, [[good[0], bad, *good[1:]]])
    failed = found[bad]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RuntimeError)
    assert str(failed.error) == "not on a Sunday"
    assert all(isinstance(found[job], Finished) for job in good)


def test_one_training_of_a_stack_that_fails_takes_no_other_with_it(shared: Engine) -> None:
    # Its state fits no network of its recipe.
    bad = train(seed=9, initial={"head.weight": torch.zeros(1, 1), "head.bias": torch.zeros(1)})
    good = [train(seed=seed) for seed in range(4)]
    found = run(shared, [[*good[:2], bad, *good[2:]]])
    assert isinstance(found[bad], Failed)
    alone = results(KINDS["inline"](), *good)
    for job, expected in zip(good, alone, strict=True):
        became = found[job]
        assert isinstance(became, Finished)
        assert_same(became.result, expected)


def test_an_error_that_cannot_be_sent_is_told_in_words(shared: Engine) -> None:
    job = craft(Complaining(0.1))
    failed = run(shared, [[job]])[job]
    assert isinstance(failed, Failed)
    assert "1 and 2" in str(failed.error)


def test_an_engine_goes_on_after_an_error(shared: Engine) -> None:
    run(shared, [[craft(Refusing(0.1))]])
    assert len(results(shared, craft())) == 1


def test_bundles_are_taken_when_a_worker_is_free(shared: Engine) -> None:
    taken = 0

    def bundles() -> Iterator[Bundle]:
        nonlocal taken
        for seed in range(6):
            taken += 1
            yield [craft(seed=seed)]

    for given, _ in enumerate(shared.run(bundles())):
        assert taken <= given + 1 + shared.workers
    assert taken == 6


def test_it_asks_again_when_a_job_has_ended(shared: Engine) -> None:
    done: list[AnyJob] = []
    first, second = craft(seed=0), craft(seed=1)

    def bundles() -> Iterator[Bundle | None]:
        yield [first]
        while not done:
            yield None
        yield [second]

    running = shared.run(bundles())
    for job, _ in running:
        done.append(job)
        if job is second:
            break
    else:
        # Its only worker had ended: who has something new begins another run.
        done += run(shared, [[second]])
    running.close()
    assert done == [first, second]


def test_it_ends_if_nothing_runs_and_there_is_nothing_for_now(shared: Engine) -> None:
    assert run(shared, [None]) == {}
    assert run(shared, []) == {}


def test_a_closed_run_gives_back_nothing_more_and_another_can_begin(make: Make) -> None:
    engine = make()
    running = engine.run(iter([[craft()], [train(LONG)], [train(LONG, seed=1)]]))
    next(running)
    began = time.perf_counter()
    running.close()
    assert time.perf_counter() - began < PATIENCE
    assert len(results(engine, craft(seed=5))) == 1


def test_progress_of_a_bundle_has_one_identity(make: Make) -> None:
    told: list[tuple[object, Progress]] = []
    # Somewhat longer than the interval at which a process tells.
    job = train(replace(RECIPE, epochs=200))

    def watch(bundle: object, progress: Any) -> None:
        told.append((bundle, progress))

    results(make(watch=watch), job)
    assert len({id(bundle) for bundle, _ in told}) == 1
    epochs = [progress.epoch for _, progress in told]
    assert epochs
    assert epochs == sorted(set(epochs))
    assert all(progress.epochs == 200 for _, progress in told)


@dataclass(frozen=True)
class Own(LabelFlip):
    """An attack of a test file."""


def test_an_attack_of_a_test_file_runs(shared: Engine) -> None:
    assert results(shared, craft(Own(0.1)))[0].fingerprint == results(shared, craft())[0].fingerprint


def test_an_attack_of_a_function_runs(shared: Engine) -> None:
    scale = 0.1

    @dataclass(frozen=True)
    class Local(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            assert scale == 0.1
            return super().craft(victim, count, generator=generator)

    assert len(results(shared, craft(Local(0.1)))[0]) == 70


def test_a_model_of_a_test_file_is_trained(shared: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    models.register("tests_own", lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes)))
    recipe = replace(RECIPE, model="tests_own")
    [mine] = results(KINDS["inline"](), train(recipe))
    [theirs] = results(shared, train(recipe))
    assert_same(mine, theirs)


def test_a_training_may_begin_with_the_state_of_another(shared: Engine) -> None:
    [first] = results(shared, train(keep_states=True))
    [second] = results(shared, train(initial=first.last))
    assert second.accuracy.tolist() != first.accuracy.tolist()


@pytest.mark.parametrize("keep", [False, True])
def test_states_come_back_where_they_are_asked_for(keep: bool, shared: Engine) -> None:
    for result in results(shared, train(keep_states=keep), train(seed=1, keep_states=keep)):
        assert (result.last is not None) == (result.best is not None) == keep


def test_results_do_not_depend_on_memory(make: Make) -> None:
    jobs = [train(seed=seed) for seed in range(3)]
    for whole, single in zip(results(KINDS["inline"](), *jobs), results(make(max_memory=1), *jobs), strict=True):
        assert_same(whole, single)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Counting(LabelFlip):
    """Notes how many threads PyTorch has."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        poison = super().craft(victim, count, generator=generator)
        return replace(poison, notes={"threads": float(torch.get_num_threads())})


@pytest.mark.usefixtures("three_threads")
def test_a_bundle_keeps_to_one_thread_and_their_number_is_put_back(shared: Engine) -> None:
    found = [poison.notes["threads"] for poison in results(shared, *(craft(Counting(0.1), seed) for seed in range(3)))]
    assert found == [1, 1, 1]
    assert torch.get_num_threads() == 3
    run(shared, [[craft(Refusing(0.1))]])
    assert torch.get_num_threads() == 3


@dataclass(frozen=True)
class Leaving(Attack):
    """Makes a hundred rows for each clean one, and leaves a file when it is done."""

    path: str

    threat: ClassVar = LabelFlip.threat

    @property
    def label(self) -> str:
        return "leaving"

    def budget(self, train_rows: int) -> int:
        return 100 * train_rows

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        rows = torch.randint(len(victim.train), (count,), generator=generator)
        Path(self.path).touch()
        return PoisonSet.added(victim.train.x[rows], 1 - victim.train.y[rows])


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.usefixtures("forked_workers")
def test_what_runs_goes_on_while_nobody_advances_the_run(kind: str, tmp_path: Path) -> None:
    engine = KINDS[kind]()
    try:
        # Each is larger than what a pipe holds.
        large = [craft(Leaving(str(tmp_path / str(number)))) for number in range(4)]
        running = engine.run(iter([[craft()], large]))
        next(running)
        end = time.monotonic() + PATIENCE
        while len(list(tmp_path.iterdir())) < len(large):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert len(list(running)) == len(large)
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.usefixtures("forked_workers")
def test_an_interrupt_while_others_work_stops_them(kind: str) -> None:
    engine = KINDS[kind]()

    def bundles() -> Iterator[Bundle]:
        yield [craft()]
        yield [train(LONG)]
        raise KeyboardInterrupt

    try:
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            run(engine, bundles())
        assert time.perf_counter() - began < PATIENCE
        assert len(results(engine, craft(seed=3))) == 1
    finally:
        engine.close()
