"""Whole runs of pytest: what a user sees, and the exit status, when an attack, a test or a disk misbehaves."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradshape_bench import plugin
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Status
from gradshape_bench.reporter import STUBS, RecordReporter
from gradshape_bench.session import SessionPart, blank_record
from tests.bench.plugin.project import ROOT, SERVER, Project, Run
from tests.bench.schedule_sample import case

_RUDE = """
import pytest

@dataclass(frozen=True)
class Rude(Attack):
    deed: str
    threat = LabelFlip.threat

    @property
    def label(self):
        return f"rude_{self.deed}"

    def budget(self, train_rows):
        return 10

    def craft(self, victim, count, *, generator):
        if self.deed == "skip":
            pytest.skip("not here")
        if self.deed == "leave":
            pytest.exit("enough", returncode=0)
        if self.deed == "long":
            raise ValueError("half \\ud800" + "x" * 5_000_000)
        if self.deed == "divide":
            return self.deeper()  # the first of the user's lines
        return LabelFlip(0.1).craft(victim, count, generator=generator)

    def deeper(self):
        return 1 / 0  # the user's line

def matrix(*deeds):
    return Matrix([MOONS], [Rude(deed) for deed in deeds], DEFENSES[:1], thresholds=HOLDS)

@benchmark_cases(matrix("skip", "leave", "long", "divide", "well"))
def test_rude(outcome):
    outcome.check()

@pytest.fixture
def broken():
    raise RuntimeError("fixture \\udfff")

@benchmark_cases(matrix("before"))
def test_before(broken, outcome):
    outcome.check()

@benchmark_cases(matrix("itself"))
def test_itself(outcome):
    pytest.skip("of its own")
"""

_UNSEEN = """
@benchmark_cases(Matrix([MOONS], FLIPS[:1], DEFENSES[:1], thresholds=HOLDS))
def test_unseen(outcome):
    pass
"""

# A disk that takes no more once the first record is stored.
_FULL = """
import gradshape_bench.records.store
from gradshape_bench.records.store import _write

def _full(file, text, written=[]):
    if written:
        raise OSError(28, "No space left on device")
    written.append(text)
    _write(file, text)

if "FULL" in os.environ:
    gradshape_bench.records.store._write = _full
"""

EXPECTED = {
    "skip": ("skipped", "Skipped: not here"),
    "leave": ("failed", "Exit: enough"),
    "long": ("failed", "ValueError: half \\ud800xxx"),
    "divide": ("failed", "ZeroDivisionError: division by zero"),
    "well": ("ok", ""),
    "before": ("failed", "RuntimeError: fixture \\udfff"),
    "itself": ("skipped", "Skipped: of its own"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        made = Project(tmp_path_factory.mktemp("project"), server)
        common = (made.folder / "test_small.py").read_text().partition("@benchmark_cases")[0]
        (made.folder / "test_rude.py").write_text(common + _RUDE)
        (made.folder / "test_unseen.py").write_text(common + _UNSEEN)
        with (made.folder / "conftest.py").open("a") as conftest:
            conftest.write(_FULL)
        yield made
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="module")
def rude(project: Project) -> Run:
    return project.run("test_rude.py", into="rude")


def _check_records(run: Run) -> None:
    found = {case.split("-")[2].removeprefix("rude_"): record for case, record in run.records.items()}
    assert len(run.lines) == len(found)
    assert found.keys() == EXPECTED.keys()
    for deed, (status, words) in EXPECTED.items():
        assert found[deed]["status"] == status, deed
        assert words in (found[deed]["reason"] or ""), deed


def test_every_case_leaves_one_record(rude: Run) -> None:
    _check_records(rude)
    assert rude.status == pytest.ExitCode.TESTS_FAILED
    assert Pending(rude.results).keys() == set()


def test_every_case_leaves_one_record_beside_others(project: Project) -> None:
    run = project.run("test_rude.py", "-n", "2", into="beside")
    assert "INTERNALERROR" not in run.output
    _check_records(run)
    assert run.status == pytest.ExitCode.TESTS_FAILED


def test_summary_names_the_users_line(project: Project, rude: Run) -> None:
    lines = (project.folder / "test_rude.py").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, start=1) if line.endswith("# the user's line"))
    assert (
        f"failed: test_rude.py:{number}: ZeroDivisionError: division by zero (two_moons-lr-rude_divide" in rude.output
    )
    assert f"\ntest_rude.py:{number}: in deeper\n" in rude.output


def test_report_of_a_users_error_shows_their_lines_and_none_of_the_harness(rude: Run) -> None:
    report = re.split(r"\n(?:____|====|----)", rude.output.partition("rude_divide-vanilla] ___")[2])[0]
    assert "outcome.check()" in report
    assert "return self.deeper()  # the first of the user's lines" in report
    assert "return 1 / 0  # the user's line" in report
    assert "gradshape_bench/" not in report
    assert len(report.splitlines()) < 15


def test_report_of_a_long_message_is_short(rude: Run) -> None:
    assert len(rude.output) < 50_000
    assert "characters left out)" in rude.output


def test_case_that_no_test_looks_at_is_named_and_no_success(project: Project) -> None:
    run = project.run("test_unseen.py", into="unseen")
    assert run.status == pytest.ExitCode.TESTS_FAILED
    assert "gradshape: 1 selected case has no record: two_moons-lr-label_flip_0-vanilla" in run.output


def test_full_disk_costs_no_record_and_is_said(project: Project) -> None:
    run = project.run("test_small.py", into="full", FULL="1")
    assert run.status == pytest.ExitCode.INTERNAL_ERROR
    assert "INTERNALERROR" not in run.output
    said = re.search(
        r"gradshape: 3 records are not stored in (\S+): OSError: .*No space left on device; see (\S+),", run.output
    )
    assert said is not None
    assert said[1] == str(run.results)
    kept = Path(said[2]).read_text().splitlines()
    Path(said[2]).unlink()
    assert len(run.lines) == 1
    assert len({json.loads(line)["case"] for line in kept} | run.records.keys()) == 4


def test_places_that_cannot_be_used_are_an_error_before_anything_runs(project: Project) -> None:
    file = project.folder / "plain"
    file.write_text("")
    places = [f"--results={project.folder / 'places.jsonl'}", f"--cache-dir={file}"]
    status, output = project.pytest("test_small.py", *places)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --cache-dir: {file}: expected a folder" in output
    assert "INTERNALERROR" not in output
    assert "passed" not in output


def test_worker_that_refuses_its_cases_is_heard_by_the_controller(tmp_path: Path) -> None:
    (tmp_path / plugin.REFUSAL).write_text("two different cases are called 'a'")
    config: Any = SimpleNamespace(stash=pytest.Stash(), getoption=lambda name, default: default, rootpath=tmp_path)
    config.stash[plugin.PART] = SessionPart(tmp_path)
    with pytest.raises(pytest.UsageError, match="two different cases are called 'a'"):
        plugin.pytest_xdist_node_collection_finished(SimpleNamespace(config=config))


def test_places_are_checked_as_soon_as_a_worker_has_cases(tmp_path: Path) -> None:
    config: Any = SimpleNamespace(stash=pytest.Stash(), getoption=lambda name, default: default, rootpath=tmp_path)
    config.stash[plugin.PART] = SessionPart(tmp_path)
    config.stash[plugin.REPORTER] = RecordReporter(tmp_path / "results.jsonl", tmp_path)
    config.stash[plugin.SETTINGS] = SimpleNamespace(results=tmp_path, use_cache=False)
    node = SimpleNamespace(config=config)
    plugin.pytest_xdist_node_collection_finished(node)
    record = blank_record(case(), Status.CRASHED)
    (tmp_path / STUBS).write_text(json.dumps({"test_small.py::test_small[a]": record.to_json()}))
    with pytest.raises(pytest.UsageError, match=r"--results: .*: this is a folder"):
        plugin.pytest_xdist_node_collection_finished(node)
