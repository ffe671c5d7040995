"""What engines promise whose workers are processes of their own, on this machine or on others."""

import gc
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet, VictimView
from gradshape_bench.cache import Cache
from gradshape_bench.engines import Crashed, Engine, Failed, TimedOut
from gradshape_bench.engines.agenda import Agenda
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.engines.slurm_options import SlurmOptions
from gradshape_bench.jobs import Craft, Finished
from tests.bench.engines.sample import (
    ALL,
    PATIENCE,
    REMOTE,
    Deadly,
    Refusing,
    assert_same,
    craft,
    made,
    results,
    run,
    train,
)

ROOT = Path(__file__).parents[3]
Build = Callable[..., Engine]


@dataclass(frozen=True)
class Counting(LabelFlip):
    """Leaves a file in a folder each time that it is crafted, and takes its time."""

    folder: str = ""
    seconds: float = 0.0

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        (Path(self.folder) / f"{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        return super().craft(victim, count, generator=generator)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, make_kind: Build, tmp_path: Path) -> Iterator[Build]:
    """Makes engines of a kind whose cache is in the test's folder."""
    engines: list[Engine] = []

    def make(**named: Any) -> Engine:
        engines.append(make_kind(request.param, folder=tmp_path, **named))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in ("inline", "threads")])
def test_a_lost_worker_costs_one_bundle_and_changes_no_result(
    kind: str, make_kind: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_kind(kind)
    lost, beside = craft(Deadly(0.1, lives=str(tmp_path / "lives"))), [train(seed=seed) for seed in range(3)]
    always = craft(Deadly(0.2))
    try:
        found = run(engine, [[lost, *beside], [always, craft()]])
    finally:
        engine.close()
    failed = found.pop(always)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Crashed)
    assert "crafting deadly (seed 0) on two_moons ended its process twice" in str(failed.error)
    assert caplog.text.count("are done again") == 2
    for job, expected in run(made("inline", tmp_path), [beside]).items():
        became = found[job]
        assert isinstance(became, Finished)
        assert isinstance(expected, Finished)
        assert_same(became.result, expected.result)
    assert all(isinstance(became, Finished) for became in found.values())


def test_finished_jobs_are_in_the_cache_and_are_not_done_again(remote: Build, tmp_path: Path) -> None:
    job = craft(Counting(0.1, folder=str(tmp_path / "runs")))
    (tmp_path / "runs").mkdir()
    first = run(remote(), [[job]])[job]
    assert isinstance(first, Finished)
    assert first.kept
    stored = Cache(tmp_path / "jobs").get(job.key)
    assert stored is not None
    assert_same(stored.result, first.result)
    assert_same(results(remote(), job)[0], first.result)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_what_has_no_reliable_name_is_not_kept(remote: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Craft, "repeatable", False)
    job = craft()
    found = run(remote(), [[job]])[job]
    assert isinstance(found, Finished)
    assert not found.kept
    assert Cache(tmp_path / "jobs").get(job.key) is None


@dataclass(frozen=True)
class Endless(LabelFlip):
    """Never returns, and takes no steps."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        while True:
            time.sleep(1)


def test_a_job_that_takes_too_long_is_ended_whatever_it_does(remote: Build) -> None:
    # Long enough for a small job on a busy machine.
    engine = remote(limit=8.0)
    endless, beside = craft(Endless(0.1)), craft()
    found = run(engine, [[beside, endless]])
    failed = found[endless]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TimedOut)
    assert isinstance(found[beside], Finished)


def test_machines_with_another_version_are_refused(remote: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradshape_bench.engines.assignment.library_source", lambda: "0" * 64)
    job = craft()
    failed = run(remote(), [[job]])[job]
    assert isinstance(failed, Failed)
    assert "another version of gradshape" in str(failed.error)


def test_memory_that_ran_out_is_the_reason_of_a_crash_and_not_tried_for_ever() -> None:
    agenda, job, how = Agenda("worker process"), craft(), "killed because its machine ran out of memory"
    assert list(agenda.died([job], begun=True, again=False, how=how)) == []
    part = agenda.next(iter([]))
    assert part is not None
    assert part.again
    [(given, failed)] = agenda.died(part.jobs, begun=True, again=part.again, how=how)
    assert given is job
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Crashed)
    assert str(failed.error).endswith(how)
    assert agenda.next(iter([])) is None


def test_ray_says_that_memory_ran_out_and_that_a_process_died(ray_cluster: None) -> None:
    import ray

    from gradshape_bench.engines import on_ray

    def told(error: Exception) -> object:
        class Handle:
            def __next__(self) -> object:
                raise error

        return on_ray._next(Handle())[1]

    assert "ran out of memory" in str(told(ray.exceptions.OutOfMemoryError("killed")))
    assert "WorkerCrashedError" in str(told(ray.exceptions.WorkerCrashedError()))
    assert isinstance(told(ray.exceptions.RayError("no such module")), Failed)


DRIVER = """
import os, sys, threading, time
from pathlib import Path
from tests.bench.engines.sample import craft, made, run
from tests.bench.engines.test_remote import Counting

kind, folder = sys.argv[1], Path(sys.argv[2])

def die():
    # Once the second job runs: the first one is in the cache.
    while len(list((folder / "runs").iterdir())) < 2:
        time.sleep(0.02)
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    threading.Thread(target=die, daemon=True).start()
    jobs = [craft(Counting(0.1, folder=str(folder / "runs"), seconds=seconds)) for seconds in (0.0, 3.0)]
    run(made(kind, folder), [jobs])
"""


@pytest.mark.parametrize("kind", REMOTE)
def test_a_driver_that_is_killed_and_started_again_finds_what_its_tasks_finished(
    kind: str, make_kind: Build, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    engine = make_kind(kind, folder=tmp_path)
    killed = subprocess.run([sys.executable, "-c", DRIVER, kind, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    jobs = [craft(Counting(0.1, folder=str(runs), seconds=seconds)) for seconds in (0.0, 3.0)]
    if kind == "slurm":
        # Its task goes on, though nobody waits for it.
        end = time.monotonic() + PATIENCE
        while not Cache(tmp_path / "jobs").holds(jobs[1].key):
            assert time.monotonic() < end
            time.sleep(0.1)
    try:
        found = results(engine, *jobs)
    finally:
        engine.close()
    # A cluster of Ray that a driver started ends with it: what it was at is done again, and nothing else.
    assert len(list(runs.iterdir())) == {"slurm": 2, "ray": 3}[kind]
    for poison in found:
        assert poison.fingerprint == LabelFlip(0.1)(jobs[0].dataset, seed=0).fingerprint


def test_results_read_from_the_cache_are_those_of_a_training(remote: Build) -> None:
    job = train(keep_states=True)
    [mine], [theirs] = results(made("inline", Path()), replace(job)), results(remote(), job)
    assert_same(mine, theirs)


# submitit leaves the logs of such a task open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_submitit_may_run_tasks_in_this_process(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    engine = made("slurm", tmp_path, options=SlurmOptions.parse(["cluster=debug"]))
    good, bad = craft(), craft(Refusing(0.1))
    try:
        found = run(engine, [[bad, good]])
    finally:
        engine.close()
        del engine
        gc.collect()
    failed, finished = found[bad], found[good]
    assert isinstance(failed, Failed)
    assert str(failed.error) == "not on a Sunday"
    assert isinstance(finished, Finished)


def test_the_folder_of_a_run_of_tasks_is_the_users_own(make_kind: Build, tmp_path: Path) -> None:
    engine = make_kind("slurm", folder=tmp_path)
    running = engine.run(iter([[craft()], [craft(seed=1)]]))
    next(running)
    [folder] = (tmp_path / "slurm").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    running.close()
    engine.close()
    assert not folder.exists()


def test_a_cluster_without_room_for_a_task_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no room for a task with 1 GPU"):
        made("ray", tmp_path, options=RayOptions(gpus=1))


def test_slurm_where_there_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    if shutil.which("srun") is not None:
        pytest.skip("there is Slurm here")
    with pytest.raises(ValueError, match=r"--engine slurm: .* detect .srun.*--slurm cluster=local runs"):
        made("slurm", tmp_path, options=SlurmOptions.parse([]))
