"""The same cases give the same numbers, to the last digit, however they are run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.attacks import BadNetsPatch, LabelFlip, NoAttack
from gradshape.defenses import Defense, GradientShaping, LossFilter, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Fit, Recipe
from gradshape_bench import Matrix
from gradshape_bench.case import Case, Scale, Smoke, Task
from gradshape_bench.options import EngineKind, Settings
from gradshape_bench.protocols import Backdoor, Utility
from gradshape_bench.records.record import Record
from gradshape_bench.session import BenchSession, SessionPart
from gradshape_bench.verdict import Threshold
from tests.bench.sample import settings_in

MOONS = Task("two_moons", Recipe("mlp", Adam(0.05), batch_size=50, epochs=2), Smoke(train_rows=100, test_rows=100))
FITTED = replace(MOONS, recipe=Fit("svm_rbf"))
DIGITS = Task("digits", Recipe("cnn", Adam(0.01), batch_size=50, epochs=1), Smoke(train_rows=150, test_rows=100))
HOLDS = (Threshold("rad", "<", 0.05),)


def _case(task: Task, fraction: float, defense: Defense) -> Case:
    return Case(task, LabelFlip(fraction), defense, scale=Scale.SMOKE, seeds=(0, 1), thresholds=HOLDS)


CASES: Sequence[Case] = [
    _case(MOONS, 0.1, NoDefense()),
    _case(MOONS, 0.3, GradientShaping(Clip(1.0) | Noise(0.1))),
    _case(MOONS, 0.3, LossFilter()),
    _case(FITTED, 0.3, NoDefense()),
    Case(
        MOONS,
        NoAttack(),
        GradientShaping(Clip(1.0)),
        scale=Scale.SMOKE,
        seeds=(0, 1),
        thresholds=(),
        protocol=Utility(),
    ),
    _case(DIGITS, 0.2, GradientShaping(Clip(1.0))),
    Case(
        DIGITS, BadNetsPatch(2, 0.2), NoDefense(), scale=Scale.SMOKE, seeds=(0, 1), thresholds=(), protocol=Backdoor()
    ),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


def _measured(cases: Iterable[Case], settings: Settings, *, beside: Sequence[Case] = ()) -> dict[str, Any]:
    """Run the cases in a session that may hold others, and return what does not depend on the clock."""
    cases = list(cases)
    scratch = settings.results.parent / "scratch"
    session = BenchSession(beside or cases, settings, SessionPart(scratch), scratch, None)
    try:
        return {case.id: _lasting(session.run(case)) for case in cases}
    finally:
        session.close()


def _lasting(record: Record) -> Mapping[str, Any]:
    plain = json.loads(record.to_json())
    return {
        name: value for name, value in plain.items() if name not in ("seconds", "costs", "environment", "cached_jobs")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return _measured(CASES, settings_in(tmp_path_factory.mktemp("undisturbed")))


def test_resumed_at_every_boundary_of_cases(settings: Settings, undisturbed: Mapping[str, Any]) -> None:
    for last in range(len(CASES)):
        # Every session ends after one case more, and the next one finds its jobs.
        assert _measured(CASES[: last + 1], settings, beside=CASES) == {
            case.id: undisturbed[case.id] for case in CASES[: last + 1]
        }


def test_alone_and_in_company(settings: Settings, undisturbed: Mapping[str, Any]) -> None:
    for case in CASES:
        assert _measured([case], replace(settings, use_cache=False)) == {case.id: undisturbed[case.id]}


def test_in_another_order(settings: Settings, undisturbed: Mapping[str, Any]) -> None:
    assert _measured(CASES[::-1], settings) == undisturbed


def test_with_little_memory(settings: Settings, undisturbed: Mapping[str, Any]) -> None:
    assert _measured(CASES, replace(settings, max_memory=1 << 16)) == undisturbed


def test_in_worker_processes(settings: Settings, undisturbed: Mapping[str, Any]) -> None:
    assert _measured(CASES, replace(settings, engine=EngineKind.PROCESSES)) == undisturbed


SUITE = """
from gradshape_bench import benchmark_cases
from tests.reliability.test_determinism import MATRICES


@benchmark_cases(*MATRICES)
def test_small(outcome):
    outcome.record
"""
MATRICES = [
    Matrix([MOONS, DIGITS], [LabelFlip(0.3)], [NoDefense(), GradientShaping(Clip(1.0)), LossFilter()], thresholds=HOLDS)
]


def _by_pytest(folder: Path, *options: str, **environment: str) -> Mapping[str, Any]:
    """Run a suite by pytest, in a process of its own, and return its records as :func:`_lasting`."""
    folder.mkdir()
    (folder / "test_small.py").write_text(SUITE)
    root = Path(__file__).parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    arguments = "-q -p no:cacheprovider --rootdir . --seeds 2 --offline --results results.jsonl --cache-dir cache"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments.split(), *options],
        cwd=folder,
        env=kept | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "bench")]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "results.jsonl").read_text().splitlines()
    return {record.case: _lasting(record) for record in map(Record.from_json, lines)}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return _by_pytest(tmp_path_factory.mktemp("suite") / "serial", OMP_NUM_THREADS="1")


def test_in_processes_of_xdist_of_several_threads_each(tmp_path: Path, serial: Mapping[str, Any]) -> None:
    assert _by_pytest(tmp_path / "xdist", "-n", "2", OMP_NUM_THREADS="2") == serial


# Kernels that any x86-64 processor has; elsewhere these settings mean nothing, and the records are equal.
OTHER_KERNELS = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "COMPATIBLE"}


def test_other_kernels_turn_no_conclusive_verdict(tmp_path: Path, serial: Mapping[str, Any]) -> None:
    other = _by_pytest(tmp_path / "kernels", **OTHER_KERNELS)
    assert other.keys() == serial.keys()
    for case, record in serial.items():
        for mine, theirs in zip(record["thresholds"], other[case]["thresholds"], strict=True):
            assert {mine["verdict"], theirs["verdict"]} != {"PASS", "FAIL"}, case
