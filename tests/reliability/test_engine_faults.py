"""Jobs that hang, crash or stop their process under worker processes: each costs itself and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gradshape import models
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Recipe
from gradshape_bench.engines import Crashed, Failed, ProcessEngine, TimedOut
from gradshape_bench.jobs import AnyJob, Craft, Filter, Finished
from tests.bench.engines.sample import KINDS, MOONS, assert_same, run, train
from tests.reliability.faulty import Endless, Faulty, FaultyFilter, FaultyPart

# Seconds: no job that ends takes as long, on a machine that does much else, too.
LIMIT = 10.0
# Each of those that hang has one for itself, so that all are waited for at once.
WORKERS = 5
STACKED = Recipe("lr", SGD(0.5), batch_size=64, epochs=2, shaper=Shaper((Clip(1.0),)))

Found = dict[str, Finished[Any] | Failed]


def craft(way: str) -> Craft:
    return Craft(MOONS, "cpu", Faulty(0.1, way=way), recipe=None, seed=0)


JOBS: dict[str, AnyJob] = {
    **{way: craft(way) for way in ("abort", "memory", "allocate")},
    **{f"{way}_hangs": craft(way) for way in ("loop", "stop")},
    "filter_hangs": Filter(MOONS, "cpu", FaultyFilter("sleep"), recipe=None, poison=None, seed=0),
    "training_hangs": train(Recipe("endless", SGD(0.1), batch_size=64, epochs=1)),
}
BESIDE: dict[str, AnyJob] = {
    "good": craft("slow"),
    "good_too": train(STACKED, seed=7),
    "member": train(STACKED),
    "member_exits": train(replace(STACKED, shaper=Shaper((FaultyPart("exit"),)))),
}


@pytest.fixture(scope="module")
def found(forked_workers: None) -> Iterator[Found]:
    """What became of all these jobs in one run."""
    mixed = [BESIDE["good"], JOBS["abort"], BESIDE["good_too"]]
    stack = [job for name, job in BESIDE.items() if name.startswith("member")]
    alone = [[job] for name, job in JOBS.items() if name != "abort"]
    names = {job: name for name, job in (JOBS | BESIDE).items()}
    engine = ProcessEngine(workers=WORKERS, max_memory=1 << 28, limit=LIMIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
        models.register("endless", lambda shape, classes: Endless(shape[0], classes))
        try:
            yield {names[job]: became for job, became in run(engine, [mixed, stack, *alone]).items()}
        finally:
            engine.close()


def test_every_job_comes_back(found: Found) -> None:
    assert found.keys() == JOBS.keys() | BESIDE.keys()


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("abort", "crafting abort_10 (seed 0) on two_moons ended its process twice, by SIGABRT"),
        ("memory", "crafting memory_10 (seed 0) on two_moons ran out of memory: MemoryError: no room on the shelf"),
        ("allocate", "crafting allocate_10 (seed 0) on two_moons ran out of memory: "),
        ("member_exits", "training lr with exit (seed 0) on two_moons ended its process twice, with exit code 3"),
    ],
)
def test_a_job_that_ends_its_process_crashes_and_is_named(way: str, how: str, found: Found) -> None:
    failed = found[way]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Crashed)
    assert str(failed.error).startswith(how)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("loop_hangs", "crafting loop_10 (seed 0)"),
        ("stop_hangs", "crafting stop_10 (seed 0)"),
        ("filter_hangs", "filtering by FaultyFilter (seed 0)"),
        ("training_hangs", "training endless (seed 0)"),
    ],
)
def test_a_job_that_does_not_end_is_ended_and_named(name: str, what: str, found: Found) -> None:
    failed = found[name]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TimedOut)
    assert str(failed.error) == f"{what} on two_moons took more than 10 s, the limit of --case-timeout"


def test_the_jobs_beside_them_give_what_they_give_alone(found: Found) -> None:
    good = [name for name in BESIDE if name != "member_exits"]
    alone = run(KINDS["inline"](), [[BESIDE[name]] for name in good])
    for name in good:
        mine, expected = found[name], alone[BESIDE[name]]
        assert isinstance(mine, Finished)
        assert isinstance(expected, Finished)
        assert_same(mine.result, expected.result)
