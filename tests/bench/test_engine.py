"""What every engine promises, whatever runs its bundles; and what each kind promises beyond it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pytest
import torch
from torch import nn

from gradshape import models
from gradshape.attacks import Attack, LabelFlip, PoisonSet, VictimView
from gradshape.data import load
from gradshape.defenses import NoDefense
from gradshape.training import Adam, GradientProbe, Progress, Recipe, TrainingResult
from gradshape_bench.engines import Bundle, Engine, Failed, ProcessEngine, ThreadEngine, WorkerDied, processors
from gradshape_bench.engines.transport import Sender
from gradshape_bench.jobs import AnyJob, Craft, Filter, Finished, Train
from tests.pretend import NAME, pretend_device

MOONS = load("two_moons")
RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)
LONG = replace(RECIPE, batch_size=1, epochs=500)
# Of a test that would otherwise wait for ever.
POLL_SECONDS = 60


@dataclass(frozen=True)
class Refusing(LabelFlip):
    """An attack of a user's own, which cannot be made."""

    @property
    def label(self) -> str:
        return "refusing"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        raise RuntimeError("not on a Sunday")


@dataclass(frozen=True)
class Deadly(LabelFlip):
    """Kills its process: every time, or as long as a file is not there.

    Args:
        lives: file that the first victim leaves; empty for none.
    """

    lives: str = ""

    @property
    def label(self) -> str:
        return "deadly"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        if not self.lives or not os.path.exists(self.lives):
            if self.lives:
                with open(self.lives, "w"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)
        return super().craft(victim, count, generator=generator)


@dataclass(frozen=True)
class Sleeping(LabelFlip):
    """Takes so many seconds."""

    seconds: float = 0.0

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        time.sleep(self.seconds)
        return super().craft(victim, count, generator=generator)


class Unspeakable(Exception):
    """Cannot leave its process."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")
        self.lock = threading.Lock()


@dataclass(frozen=True)
class Complaining(LabelFlip):
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        raise Unspeakable(1, 2)


def craft(attack: Attack | None = None, seed: int = 0) -> Craft:
    return Craft(MOONS, "cpu", attack or LabelFlip(0.1), None, seed)


def train(recipe: Recipe = RECIPE, seed: int = 0, **named: Any) -> Train:
    return Train(MOONS, "cpu", recipe, seed, **named)


Make = Callable[..., Engine]
KINDS: dict[str, Callable[..., Engine]] = {
    "inline": lambda **named: ThreadEngine(**{"workers": 1, "max_memory": 1 << 28} | named),
    "threads": lambda **named: ThreadEngine(**{"workers": 2, "max_memory": 1 << 28} | named),
    "processes": lambda **named: ProcessEngine(**{"workers": 2, "max_memory": 1 << 28} | named),
}


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine that is none the worse for use."""
    engine = KINDS[request.param]()
    yield engine
    engine.close()


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Engine] = []

    def of_kind(**named: Any) -> Engine:
        made.append(KINDS[request.param](**named))
        return made[-1]

    yield of_kind
    for engine in made:
        engine.close()


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessEngine]:
    """An engine of one worker process, which may be killed: the next one takes its place."""
    engine = ProcessEngine(workers=1, max_memory=1 << 28)
    yield engine
    engine.close()


def run(engine: Engine, bundles: Iterable[Bundle | None]) -> dict[AnyJob, Finished[Any] | Failed]:
    """What became of every job; each comes back once."""
    found: dict[AnyJob, Finished[Any] | Failed] = {}
    for job, became in engine.run(iter(bundles)):
        assert job not in found
        found[job] = became
    return found


def results(engine: Engine, *jobs: AnyJob) -> list[Any]:
    """Results of jobs that are one bundle."""
    found = run(engine, [jobs])
    done = [found[job] for job in jobs]
    assert all(isinstance(became, Finished) for became in done), done
    return [became.result for became in done if isinstance(became, Finished)]


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
        Filter(MOONS, "cpu", NoDefense(), None, poison, 0),
    ]
    here = run(KINDS["inline"](), [jobs])
    there = run(shared, [jobs])
    for job in jobs:
        mine, theirs = here[job], there[job]
        assert isinstance(mine, Finished)
        assert isinstance(theirs, Finished)
        assert_same(mine.result, theirs.result)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif hasattr(one, "__dataclass_fields__"):
        assert type(one) is type(other)
        for name in one.__dataclass_fields__:
            assert_same(getattr(one, name), getattr(other, name))
    else:
        assert one == other


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
    assert time.perf_counter() - began < POLL_SECONDS
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


def test_an_attack_of_a_test_file_runs(shared: Engine) -> None:
    assert results(shared, craft(Sleeping(0.1, seconds=0.0)))[0].fingerprint == results(shared, craft())[0].fingerprint


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


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_what_runs_goes_on_while_nobody_advances_the_run(kind: str) -> None:
    engine = KINDS[kind]()
    try:
        results(engine, craft(seed=7), craft(seed=8))  # the processes have begun
        # States are larger than what a pipe holds.
        large = [train(replace(RECIPE, model="mlp"), seed, keep_states=True) for seed in range(4)]
        running = engine.run(iter([[craft()], large]))
        next(running)
        time.sleep(3)
        began = time.perf_counter()
        assert len(list(running)) == 4
        assert time.perf_counter() - began < 2
    finally:
        engine.close()


def test_threads_run_as_many_bundles_as_there_are_workers_side_by_side() -> None:
    # Each waits for the other.
    barrier = threading.Barrier(2)

    class Meeting(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            barrier.wait(timeout=POLL_SECONDS)
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


@pytest.mark.parametrize("kind", ["threads", "processes"])
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
        assert time.perf_counter() - began < POLL_SECONDS
        assert len(results(engine, craft(seed=3))) == 1
    finally:
        engine.close()


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


def test_a_data_set_crosses_once(process: ProcessEngine) -> None:
    results(process, craft())
    [worker] = process._workers
    assert worker.sender.known == {MOONS.fingerprint}
    first = len(worker.sender.pack(craft(seed=1)))
    assert first < MOONS.train.x.numel() * 4 / 2
    results(process, craft(seed=2))
    assert process._workers == [worker]


def test_a_few_rows_of_a_large_tensor_cross_alone() -> None:
    large = torch.zeros(1_000_000)
    assert len(Sender().pack(large[:10])) < 10_000


def test_a_worker_that_dies_costs_its_bundle_and_a_line(
    process: ProcessEngine, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job, others = craft(Deadly(0.1, lives=str(tmp_path / "lives"))), [craft(seed=seed) for seed in range(3)]
    found = run(process, [[others[0], job, others[1]], [others[2]]])
    assert all(isinstance(found[each], Finished) for each in (job, *others))
    assert caplog.text.count("a worker process died (exit code -9)") == 1


def test_a_job_that_kills_every_worker_fails(process: ProcessEngine) -> None:
    job, other = craft(Deadly(0.1)), craft()
    found = run(process, [[job], [other]])
    failed = found[job]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, WorkerDied)
    assert "died twice, with exit code -9" in str(failed.error)
    assert isinstance(found[other], Finished)


def test_a_worker_killed_from_outside_is_replaced(process: ProcessEngine) -> None:
    results(process, craft())
    [worker] = process._workers
    assert worker.process.pid is not None
    running = process.run(iter([[craft(Sleeping(0.1, seconds=2.0))], [craft(seed=1)]]))
    killer = threading.Timer(0.5, os.kill, (worker.process.pid, signal.SIGKILL))
    killer.start()
    assert len(list(running)) == 2
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


def test_closed_processes_are_gone_and_others_may_begin(process: ProcessEngine) -> None:
    results(process, craft())
    [worker] = process._workers
    pid = worker.process.pid
    assert pid is not None
    began = time.perf_counter()
    process.close()
    assert time.perf_counter() - began < 4
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    results(process, craft())


def test_there_is_a_processor() -> None:
    assert processors() >= 1
