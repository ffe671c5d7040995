"""A job's key depends on the harness' own part in results, on versions, and on nothing that people look at."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import gradshape_bench
from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import PerfectFilter
from gradshape.training import SGD, Fit, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.engines import Engine, ThreadEngine
from gradshape_bench.job_names import code_digest, source_files
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=50, epochs=1)
HARNESS = Path(gradshape_bench.__file__).parent
JOB = Craft(MOONS, "cpu", LabelFlip(0.1), recipe=None, seed=0)


def key() -> str:
    return Craft(MOONS, "cpu", LabelFlip(0.1), recipe=None, seed=0).key


def test_all_of_the_engines_counts_and_no_page() -> None:
    counted = code_digest.harness_files().keys()
    engines = {f"gradshape_bench.engines.{path.stem}" for path in (HARNESS / "engines").glob("[!_]*.py")}
    assert counted >= {"gradshape_bench.jobs", "gradshape_bench.cache", "gradshape_bench.matmul_precision", *engines}
    rooms = ("report", "protocols", "plugin", "session", "record", "store", "progress", "publish", "speed", "case")
    assert [name for name in counted if name.split(".")[1] in rooms] == []


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Record the modules of the harness whose functions run meanwhile, in all threads that begin meanwhile."""
    ran = set[str]()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("gradshape_bench."):
            ran.add(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield ran
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_module_that_takes_part_in_a_result_counts(workers: int, tmp_path: Path) -> None:
    poison = LabelFlip(0.1)(MOONS, seed=0)
    jobs: list[AnyJob] = [
        JOB,
        Filter(MOONS, "cpu", PerfectFilter(), recipe=RECIPE, poison=poison, seed=0),
        *(Train(MOONS, "cpu", RECIPE, seed=seed, poison=poison) for seed in (0, 1)),
        Train(MOONS, "cpu", Fit("svm_linear"), seed=0),
    ]
    engine: Engine = ThreadEngine(workers=workers, max_memory=2**30)
    cache = Cache(tmp_path)
    with recorded() as ran:
        for job, done in engine.run(iter([*([job] for job in jobs), None])):
            cache.put(job.key, done)  # type: ignore[arg-type]
            cache.get(job.key)
    engine.close()
    assert {"gradshape_bench.jobs", "gradshape_bench.engines.work", "gradshape_bench.cache.folder"} <= ran
    assert ran <= code_digest.harness_files().keys()


@pytest.mark.parametrize("part", ["library_source", "harness_source"])
def test_key_depends_on_the_source_of(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(code_digest, part, lambda: "another")
    assert key() != before


@pytest.mark.parametrize("package", ["numpy", "scipy", "scikit-learn", "opacus", "torch"])
def test_key_depends_on_the_version_of(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, version = key(), source_files.version
    assert version(package) is not None
    monkeypatch.setattr(source_files, "version", lambda name: "0" if name == package else version(name))
    monkeypatch.setattr(torch, "__version__", "0" if package == "torch" else torch.__version__)
    assert key() != before


def test_key_depends_on_pythons_feature_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert key() != before
