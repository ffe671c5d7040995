import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from bench.cache import Finished
from bench.engines import LocalEngine
from bench.engines.local import Bundle, Stopped, processors
from bench.jobs import Craft, Filter, Job, Train
from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape.data import load
from gradshape.defenses import NoDefense
from gradshape.training import Adam, GradientProbe, Progress, Recipe, TrainingResult
from tests.pretend import NAME, pretend_device

MOONS = load("two_moons")
RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)


def crafts(count: int) -> list[Craft]:
    return [Craft(MOONS, "cpu", LabelFlip(0.1), None, seed) for seed in range(count)]


def bundles(count: int) -> list[list[Job]]:
    return [[job] for job in crafts(count)]


def engine(workers: int, **named: Any) -> LocalEngine:
    return LocalEngine(workers=workers, max_memory=1 << 28, **named)


def test_poison_is_crafted_on_the_device_of_its_job() -> None:
    where: list[torch.device] = []

    class Watched(LabelFlip):
        def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
            where.append(victim.train.x.device)
            return super().craft(victim, count, generator=generator)

    done: list[Finished] = []
    with pretend_device():
        engine(1).compute([Craft(MOONS, NAME, Watched(0.1), None, 0)], lambda job, finished: done.append(finished))
    assert [device.type for device in where] == [NAME]
    assert done[0].result.fingerprint == LabelFlip(0.1)(MOONS, seed=0).fingerprint


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_as_many_bundles_as_workers_run_side_by_side() -> None:
    # Each waits for the other.
    barrier = threading.Barrier(2)
    engine(2).run(bundles(2), lambda bundle: void(barrier.wait(timeout=20)))
    assert not barrier.broken


def void(_: object) -> None:
    pass


def test_no_more_bundles_than_workers_run_side_by_side() -> None:
    running, most, guard = 0, 0, threading.Lock()

    def run_bundle(bundle: Bundle) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with guard:
            running -= 1

    engine(2).run(bundles(6), run_bundle)
    assert most == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_every_bundle_runs_once(workers: int) -> None:
    ran: list[Bundle] = []
    wanted = bundles(5)
    engine(workers).run(wanted, ran.append)
    assert sorted(map(id, ran)) == sorted(map(id, wanted))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_is_passed_on_and_the_rest_does_not_begin(workers: int, error: type[BaseException]) -> None:
    begun: list[Bundle] = []
    wanted = bundles(20)

    def run_bundle(bundle: Bundle) -> None:
        begun.append(bundle)
        if bundle is wanted[0]:
            raise error("stop")
        time.sleep(0.05)

    with pytest.raises(error, match="stop"):
        engine(workers).run(wanted, run_bundle)
    assert len(begun) < 10


def test_error_stops_a_training_that_runs() -> None:
    local = engine(2)
    long: list[Job] = [Train(MOONS, "cpu", Recipe("lr", Adam(0.05), batch_size=1, epochs=100), 0)]
    short: list[Job] = list(crafts(1))
    ended: list[type[BaseException]] = []
    training = threading.Event()

    def run_bundle(bundle: Bundle) -> None:
        if bundle is short:
            training.wait(timeout=20)
            raise RuntimeError("stop")
        training.set()
        try:
            local.compute(bundle, lambda job, finished: None)
        except BaseException as error:
            ended.append(type(error))
            raise

    with pytest.raises(RuntimeError, match="stop"):
        local.run([long, short], run_bundle)
    assert ended == [Stopped]


def test_engine_runs_on_after_an_error() -> None:
    local = engine(2)

    def fail(bundle: Bundle) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        local.run(bundles(2), fail)
    finished: list[Job] = []
    job = Train(MOONS, "cpu", RECIPE, 0)
    local.run([[job], *bundles(1)], lambda bundle: local.compute(bundle, lambda job, _: finished.append(job)))
    assert job in finished


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("workers", [1, 2])
def test_bundle_keeps_to_one_thread(workers: int) -> None:
    seen: list[int] = []
    engine(workers).run(bundles(3), lambda bundle: seen.append(torch.get_num_threads()))
    assert seen == [1, 1, 1]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("workers", [1, 2])
def test_number_of_threads_is_put_back(workers: int) -> None:
    engine(workers).run(bundles(3), lambda bundle: None)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("workers", [1, 2])
def test_number_of_threads_is_put_back_after_an_error(workers: int) -> None:
    def fail(bundle: Bundle) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        engine(workers).run(bundles(3), fail)
    assert torch.get_num_threads() == 3


def computed(jobs: Sequence[Job], **named: Any) -> dict[Job, Finished]:
    found: dict[Job, Finished] = {}
    engine(1, **named).compute(jobs, found.__setitem__)
    return found


def test_poison_is_that_of_the_attack() -> None:
    (job,) = crafts(1)
    result = computed([job])[job].result
    assert isinstance(result, PoisonSet)
    assert result.fingerprint == LabelFlip(0.1)(MOONS, seed=0).fingerprint


def test_defence_that_filters_nothing_keeps_all() -> None:
    job = Filter(MOONS, "cpu", NoDefense(), None, LabelFlip(0.1)(MOONS, seed=0), 0)
    assert computed([job])[job].result.tolist() == [True] * 770


def test_stack_is_emitted_job_by_job() -> None:
    wanted = [Train(MOONS, "cpu", RECIPE, seed) for seed in (0, 1, 2)]
    found = computed(wanted)
    assert set(found) == set(wanted)
    assert all(isinstance(finished.result, TrainingResult) and finished.seconds > 0 for finished in found.values())


def test_results_do_not_depend_on_memory() -> None:
    wanted = [Train(MOONS, "cpu", RECIPE, seed) for seed in (0, 1, 2)]
    whole = computed(wanted)
    single: dict[Job, Finished] = {}
    LocalEngine(workers=1, max_memory=1).compute(wanted, single.__setitem__)
    assert all(torch.equal(whole[job].result.accuracy, single[job].result.accuracy) for job in wanted)


def test_progress_of_a_bundle_has_one_identity() -> None:
    told: list[tuple[object, Progress]] = []
    job = Train(MOONS, "cpu", RECIPE, 0)
    computed([job], watch=lambda bundle, progress: told.append((bundle, progress)))
    assert [progress.epoch for _, progress in told] == [1, 2]
    assert len({id(bundle) for bundle, _ in told}) == 1


def test_there_is_a_processor() -> None:
    assert processors() >= 1


@pytest.mark.parametrize("keep", [False, True])
def test_states_come_back_where_they_are_asked_for(keep: bool) -> None:
    found: list[Any] = []
    jobs = [Train(MOONS, "cpu", RECIPE, seed, keep_states=keep) for seed in (0, 1)]
    for job in jobs:
        engine(1).compute([job], lambda job, finished: found.append(finished.result))
    assert [result.last is not None for result in found] == [result.best is not None for result in found] == [keep] * 2


def test_a_training_may_begin_with_the_state_of_another() -> None:
    found: list[Any] = []

    def emit(job: Job, finished: Finished) -> None:
        found.append(finished.result)

    engine(1).compute([Train(MOONS, "cpu", RECIPE, 0, keep_states=True)], emit)
    engine(1).compute([Train(MOONS, "cpu", RECIPE, 0, initial=found[0].last)], emit)
    assert found[1].accuracy.tolist() != found[0].accuracy.tolist()


def test_a_probed_training_comes_back_with_what_was_measured() -> None:
    found: list[Any] = []
    poison = LabelFlip(0.1)(MOONS, seed=0)
    job = Train(MOONS, "cpu", RECIPE, 0, poison, probe=GradientProbe())
    engine(1).compute([job], lambda job, finished: found.append(finished.result))
    assert found[0].gradients.rows[:, :2].sum(1).tolist() == [12 * 64] * 2
