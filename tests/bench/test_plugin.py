"""pytest inside pytest: a small project of its own, run as a user would run it."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.pending import Pending
from gradshape_bench.plugin import RecordReporter
from gradshape_bench.session import SessionPart

ROOT = Path(__file__).parents[2]

# The harness imports torch and scikit-learn, which takes seconds: import them once and fork for every run.
_SERVER = """
import json, os, sys
import hypothesis, pytest, pytest_benchmark.plugin, scipy.stats, sklearn.datasets
import gradshape_bench.report.leaderboard, gradshape_bench.session, gradshape_bench.report.summary
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, 0o600)
        os.dup2(output, 1), os.dup2(output, 2)
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        try:
            status = int(pytest.main(job["arguments"]))
        finally:
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

_CONFTEST = """
import os

import gradshape_bench.progress

if "EAGER" in os.environ:
    gradshape_bench.progress._QUIET_SECONDS = gradshape_bench.progress._INTERVAL = -1.0
"""

# xfail_strict: the cases' own marks have to withstand it.
_INI = """
[pytest]
addopts = -rs
xfail_strict = true
strict_markers = true
"""

_COMMON = """
import os, signal
from dataclasses import dataclass

from gradshape_bench.case import ExpectedFailure, Task
from gradshape_bench.matrix import Expect, Matrix, benchmark_cases
from gradshape_bench.verdict import Threshold
from gradshape.attacks import Attack, LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import Adam, Recipe

MOONS = Task("two_moons", Recipe("lr", Adam(0.05), batch_size=64, epochs=2))
FLIPS = [LabelFlip(0.0), LabelFlip(0.1)]
DEFENSES = [NoDefense(), GradientShaping(Clip(1))]
HOLDS = [Threshold("rad", "<", 0.99)]
BREAKS = [Threshold("rad", "<", -1)]
"""

_SUITES = {
    "test_small.py": """
@benchmark_cases(Matrix([MOONS], FLIPS, DEFENSES, HOLDS))
def test_small(outcome):
    outcome.check()
""",
    "test_cost.py": """
from gradshape_bench.protocols.utility import Utility
from gradshape.attacks import NoAttack

@benchmark_cases(Matrix([MOONS], [NoAttack()], DEFENSES, [], protocol=Utility()))
def test_cost(outcome):
    outcome.check()
""",
    "test_broken.py": """
@benchmark_cases(Matrix([MOONS], FLIPS, DEFENSES, BREAKS))
def test_broken(outcome):
    outcome.check()
""",
    "test_expected.py": """
KNOWN = ExpectedFailure("known to be missed", "Someone 2020, Fig. 1")

@benchmark_cases(Matrix([MOONS], FLIPS[:1], DEFENSES[:1], BREAKS, expected_failures=[Expect(KNOWN)]))
def test_misses(outcome):
    outcome.check()

@benchmark_cases(Matrix([MOONS], FLIPS[1:], DEFENSES[:1], HOLDS, expected_failures=[Expect(KNOWN)]))
def test_holds(outcome):
    outcome.check()
""",
    "test_missing.py": """
PLACES = Task("location30", MOONS.recipe)

@benchmark_cases(Matrix([PLACES], FLIPS[:1], DEFENSES[:1], HOLDS))
def test_missing(outcome):
    outcome.check()
""",
    "test_unknown.py": """
TYPO = Task("two_mons", MOONS.recipe)

@benchmark_cases(Matrix([TYPO, MOONS], FLIPS[:1], DEFENSES[:1], HOLDS))
def test_unknown(outcome):
    outcome.check()
""",
    "test_ambiguous.py": """
OTHER = Task("two_moons", Recipe("lr", Adam(0.05), batch_size=64, epochs=3))

@benchmark_cases(Matrix([MOONS], FLIPS[:1], DEFENSES[:1], HOLDS))
def test_one(outcome):
    outcome.check()

@benchmark_cases(Matrix([OTHER], FLIPS[:1], DEFENSES[:1], HOLDS))
def test_other(outcome):
    outcome.check()
""",
    "test_fatal.py": """
@dataclass(frozen=True)
class Fatal(Attack):
    fraction: float
    threat = LabelFlip.threat

    @property
    def label(self):
        return f"fatal_{100 * self.fraction:g}"

    def budget(self, train_rows):
        return round(self.fraction * train_rows)

    def craft(self, victim, count, *, generator):
        if self.fraction == 0.2 and "EXIT" in os.environ:
            os._exit(1)
        return LabelFlip(self.fraction).craft(victim, count, generator=generator)

@benchmark_cases(Matrix([MOONS], [Fatal(f) for f in (0.1, 0.2, 0.3)], DEFENSES[:1], HOLDS))
def test_fatal(outcome, case):
    if case.attack.fraction == 0.2 and "KILL" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    outcome.check()
""",
}

SMALL = [
    f"two_moons-lr-label_flip_{intensity}-{defense}" for intensity in (0, 10) for defense in ("vanilla", "dp_adam_c1")
]
FATAL = [f"two_moons-lr-fatal_{intensity}-vanilla" for intensity in (10, 20, 30)]


@dataclass(frozen=True)
class Run:
    """A finished run of pytest and what it left."""

    status: int
    output: str
    results: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.results.read_text(encoding="utf-8").splitlines()]

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {line["case"]: line for line in self.lines}

    def counted(self, what: str) -> bool:
        """Whether pytest's last line counts ``what``."""
        return what in self.output.strip().splitlines()[-1]


class Project:
    """A project with suites; ``run`` starts pytest in it."""

    def __init__(self, folder: Path, server: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self._server = server
        self._runs = 0
        (folder / "conftest.py").write_text(_CONFTEST)
        (folder / "pytest.ini").write_text(_INI)
        for name, text in _SUITES.items():
            (folder / name).write_text(_COMMON + text)
        (folder / "no_data").mkdir()

    def run(self, *arguments: str, into: str, output: str | None = None, **environment: str) -> Run:
        """Run pytest with results and finished jobs in the folder ``into``."""
        results = self.folder / into / "results.jsonl"
        places = ["--results", str(results), "--cache-dir", str(results.parent)]
        status, shown = self.pytest(*places, "--seeds", "2", *arguments, output=output, environment=environment)
        return Run(status, shown, results)

    def pytest(
        self,
        *arguments: str,
        folder: Path | None = None,
        output: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run pytest in ``folder``; exit status and output."""
        self._runs += 1
        target = output or str(self.folder / f"{self._runs}.txt")
        job = {
            "folder": str(folder or self.folder),
            "arguments": arguments,
            "output": target,
            "environment": {"GRADSHAPE_DATA": str(self.folder / "no_data"), "COLUMNS": "120", **(environment or {})},
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        return status, "" if output else Path(target).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    # Nothing of the outer run may reach the inner ones.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        yield Project(tmp_path_factory.mktemp("project"), server)
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="module")
def serial(project: Project) -> Run:
    return project.run("test_small.py", into="serial")


@pytest.fixture(scope="module")
def again(project: Project, serial: Run) -> tuple[dict[str, dict[str, Any]], Run]:
    """The records of the first run, and the second run."""
    before = serial.records
    return before, project.run("test_small.py", into="serial")


@pytest.fixture(scope="module")
def parallel(project: Project) -> Run:
    """Two processes, and a case that ends its own; in one run, because every process takes seconds to start."""
    return project.run("test_small.py", "test_fatal.py", "-n", "2", into="parallel", EXIT="1")


@pytest.fixture(scope="module")
def broken(project: Project) -> Run:
    return project.run("test_broken.py", "-x", into="broken")


@pytest.fixture(scope="module")
def expected(project: Project) -> Run:
    return project.run("test_expected.py", into="expected")


@pytest.fixture(scope="module")
def missing(project: Project) -> Run:
    return project.run("test_missing.py", "--offline", into="missing")


@dataclass(frozen=True)
class Killed:
    """Exit status, results file and open cases of a run that was killed, and the run after it."""

    status: int
    left: list[str]
    open: set[tuple[str, str]] | None
    run: Run


@pytest.fixture(scope="module")
def killed(project: Project) -> Killed:
    first = project.run("test_fatal.py", into="killed", KILL="1")
    left = first.results.read_text(encoding="utf-8").splitlines(keepends=True)
    return Killed(first.status, left, Pending(first.results).keys(), project.run("test_fatal.py", into="killed"))


def test_passing_suite_exits_with_0(serial: Run) -> None:
    assert serial.status == 0, serial.output


def test_every_case_leaves_one_record(serial: Run) -> None:
    assert sorted(line["case"] for line in serial.lines) == sorted(SMALL)


def test_records_are_measured(serial: Run) -> None:
    assert all(line["status"] == "ok" and "rad" in line["metrics"] for line in serial.lines)


def test_leaderboard_shows_every_case(serial: Run) -> None:
    page = serial.results.with_name("leaderboard.md").read_text(encoding="utf-8")
    assert all(case in page for case in SMALL)


def test_terminal_shows_where_the_reports_are(serial: Run) -> None:
    assert f"leaderboard: {serial.results.with_name('leaderboard.md')}" in serial.output


def test_cases_without_an_attack_have_a_page_of_their_own(project: Project, serial: Run) -> None:
    run = project.run("test_cost.py", into="cost")
    page = run.results.with_name("privacy.md")
    assert "two_moons, lr, utility" in page.read_text(encoding="utf-8")
    assert f"utility against privacy: {page}" in run.output
    assert not serial.results.with_name("privacy.md").exists()


def test_terminal_counts_the_cases(serial: Run) -> None:
    assert "4 cases: 4 passed" in serial.output


def test_second_run_takes_everything_from_the_cache(again: tuple[dict[str, dict[str, Any]], Run]) -> None:
    # A job that was done again would have taken another time.
    before, second = again
    assert second.records == before


def test_second_run_leaves_one_line_a_case(again: tuple[dict[str, dict[str, Any]], Run]) -> None:
    assert len(again[1].lines) == len(SMALL)


def test_two_processes_measure_the_same(serial: Run, parallel: Run) -> None:
    def timeless(run: Run) -> dict[str, dict[str, Any]]:
        return {case: {k: v for k, v in run.records[case].items() if k not in ("seconds", "costs")} for case in SMALL}

    assert timeless(parallel) == timeless(serial)


def test_two_processes_leave_one_line_a_case(parallel: Run) -> None:
    assert sorted(line["case"] for line in parallel.lines) == sorted([*SMALL, *FATAL])


def test_id_in_brackets_selects_one_case(project: Project) -> None:
    run = project.run("test_small.py", "--collect-only", "-q", "-k", f"[{SMALL[2]}]", into="none")
    assert [line for line in run.output.splitlines() if "::" in line] == [f"test_small.py::test_small[{SMALL[2]}]"]


def test_marker_selects_by_label(project: Project) -> None:
    run = project.run("test_small.py", "--collect-only", "-q", "-m", "case(attack='label_flip_10')", into="none")
    nodes = [line for line in run.output.splitlines() if "::" in line]
    assert nodes == [f"test_small.py::test_small[{case}]" for case in SMALL[2:]]


def test_collecting_leaves_results_and_cache_alone(project: Project, serial: Run) -> None:
    def left() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in serial.results.parent.rglob("*") if path.is_file()}

    before = left()
    project.run("test_small.py", "test_fatal.py", "--collect-only", "-q", into="serial")
    assert left() == before


APART, JOINED = "{0} {1}", "{0}={1}"


def _twice(project: Project, results: Path, cache: Path, *, spelled: str, where: Sequence[str]) -> list[str]:
    """What is wrong with two runs in a row that name their places alike."""
    options = [("--results", results), ("--cache-dir", cache)]
    places = [word for name, path in options for word in spelled.format(name, path).split(" ")]
    select = ["--seeds", "1", "-k", f"test_small and {SMALL[0]}", *where]
    runs = [project.pytest(*places, *select) for _ in range(2)]
    return [output for status, output in runs if status != 0 or "1 passed" not in output]


@pytest.mark.parametrize("where", [("test_small.py",), ()], ids=["with-test-path", "without"])
@pytest.mark.parametrize("spelled", [APART, JOINED], ids=["apart", "joined"])
def test_places_work_twice(
    project: Project, spelled: str, where: Sequence[str], request: pytest.FixtureRequest
) -> None:
    place = project.folder / "twice" / request.node.callspec.id
    assert _twice(project, place / "r.jsonl", place / "cache", spelled=spelled, where=where) == []
    assert (place / "r.jsonl").exists()
    assert (place / "cache").is_dir()


# Apart and without a test path, pytest itself looks for its configuration beside them, and loads no plugin.
@pytest.mark.parametrize(
    ("spelled", "where"),
    [(APART, ("test_small.py",)), (JOINED, ("test_small.py",)), (JOINED, ())],
    ids=["apart", "joined", "joined-without-test-path"],
)
def test_places_outside_the_project_work_twice(
    project: Project, spelled: str, where: Sequence[str], tmp_path: Path
) -> None:
    assert _twice(project, tmp_path / "r.jsonl", tmp_path / "cache", spelled=spelled, where=where) == []


def test_the_checkout_knows_its_options_before_places_to_collect_from(project: Project) -> None:
    existing = ["--results", str(ROOT / "README.md"), "--cache-dir", str(ROOT / "tests")]
    # The process has imported what the checkout's pytest would rewrite.
    quiet = ["--collect-only", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status, output = project.pytest(*existing, *quiet, folder=ROOT / "tests" / "shaping")
    assert status == 0, output


def test_a_complete_run_leaves_nothing_open(serial: Run) -> None:
    assert Pending(serial.results).keys() == set()


def test_two_processes_leave_nothing_open(parallel: Run) -> None:
    assert Pending(parallel.results).keys() == set()


def test_what_x_leaves_out_stays_open(broken: Run) -> None:
    assert Pending(broken.results).keys() == {("smoke", case) for case in SMALL[1:]}


def test_a_killed_run_stays_open_until_it_is_run_again(killed: Killed) -> None:
    assert killed.open == {("smoke", case) for case in FATAL}
    assert Pending(killed.run.results).keys() == set()


def test_missed_threshold_exits_with_1(broken: Run) -> None:
    assert broken.status == 1


def test_missed_threshold_shows_value_and_interval_and_bound(broken: Run) -> None:
    assert "rad < -1: measured 0.0000 [0.0000, 0.0000] (n=2): FAIL" in broken.output


def test_missed_threshold_shows_the_case_and_how_to_run_it_again(broken: Run) -> None:
    assert f"case: {SMALL[0]} (scale smoke, 2 seeds)" in broken.output
    assert f"pytest suites/ -k '[{SMALL[0]}]' --scale smoke --seeds 2" in broken.output


def test_x_stops_at_the_first_miss(broken: Run) -> None:
    assert [line["case"] for line in broken.lines] == [SMALL[0]]


def test_x_does_not_train_the_rest_first(broken: Run) -> None:
    # Two seeds on clean data, and two empty poison sets.
    assert len(list(broken.results.parent.rglob("*.npz"))) == 4


def test_lf_selects_what_failed(project: Project, broken: Run) -> None:
    run = project.run("test_broken.py", "--lf", "--collect-only", "-q", into="none")
    nodes = [line for line in run.output.splitlines() if "::" in line]
    assert nodes == [f"test_broken.py::test_broken[{SMALL[0]}]"]


def test_expected_failure_is_xfailed(expected: Run) -> None:
    assert expected.counted("1 xfailed")


def test_unexpected_pass_is_xpassed_and_fails_nothing(expected: Run) -> None:
    assert expected.counted("1 xpassed")
    assert expected.status == 0


def test_unexpected_pass_shows_in_the_summary(expected: Run) -> None:
    assert "2 cases: 1 expected failure, 1 unexpected pass" in expected.output


def test_missing_data_skips_with_the_command_that_fetches_it(missing: Run) -> None:
    assert missing.status == 0
    assert missing.counted("1 skipped")
    assert "python -m gradshape.data fetch location30" in missing.output


def test_missing_data_is_counted(missing: Run) -> None:
    assert "1 case: 1 skipped (1 for missing data)" in missing.output


def test_missing_data_is_recorded_as_skipped(missing: Run) -> None:
    assert [line["status"] for line in missing.lines] == ["skipped"]


def test_require_data_fails_instead(project: Project) -> None:
    run = project.run("test_missing.py", "--offline", "--require-data", into="required")
    assert run.status == 1
    assert "python -m gradshape.data fetch location30" in run.output


def test_unknown_data_set_fails_its_case_with_near_matches(project: Project) -> None:
    run = project.run("test_unknown.py", into="unknown")
    assert run.status == 1
    assert "unknown data set 'two_mons': did you mean 'two_moons'?" in run.output
    assert run.counted("1 failed, 1 passed")


def test_two_cases_of_one_id_are_an_error_before_anything_runs(project: Project) -> None:
    run = project.run("test_ambiguous.py", into="ambiguous")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert f"two different cases are called '{SMALL[0]}'" in run.output
    assert not run.results.exists()


def test_bad_option_is_an_error_before_anything_runs(project: Project) -> None:
    run = project.run("test_small.py", "--scale", "papr", into="option")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "--scale: unknown scale 'papr': did you mean 'paper'?" in run.output


def test_case_that_kills_its_process_is_recorded_as_crashed(parallel: Run) -> None:
    record = parallel.records[FATAL[1]]
    assert record["status"] == "crashed"
    assert "worker process died" in record["reason"]


def test_crash_costs_no_other_case(parallel: Run) -> None:
    assert {case for case, record in parallel.records.items() if record["status"] == "ok"} == {*SMALL, *FATAL} - {
        FATAL[1]
    }


def test_crash_exits_with_1(parallel: Run) -> None:
    assert parallel.status == 1


def test_killed_run_leaves_whole_lines(killed: Killed) -> None:
    assert killed.status == -9
    assert all(line.endswith("\n") for line in killed.left)
    assert [json.loads(line)["case"] for line in killed.left] == FATAL[:1]


def test_run_after_a_kill_leaves_one_record_a_case(killed: Killed) -> None:
    assert killed.run.status == 0
    assert [line["case"] for line in killed.run.lines] == FATAL


def test_run_after_a_kill_continues(killed: Killed) -> None:
    # Its seconds, too: a job that was done again would have taken another time.
    assert killed.run.lines[0] == json.loads(killed.left[0])


def _on_terminal(run: Callable[[str], Run]) -> str:
    """What a run shows on a terminal; ``run`` gets the terminal's name."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        # A terminal whose last writer is gone gives an error instead of nothing.
        try:
            while text := os.read(ours, 4096):
                shown.append(text)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        run(os.ttyname(theirs))
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return b"".join(shown).decode()


PROGRESS = "epoch 1/2"


def _eager(project: Project, arguments: Sequence[str], into: str, output: str | None = None) -> Run:
    return project.run("test_small.py", *arguments, into=into, output=output, EAGER="1", TERM="xterm")


def test_terminal_shows_progress(project: Project) -> None:
    assert PROGRESS in _on_terminal(lambda terminal: _eager(project, (), "terminal", terminal))


def test_quiet_terminal_shows_none(project: Project) -> None:
    assert PROGRESS not in _on_terminal(lambda terminal: _eager(project, ("-q",), "quiet", terminal))


def test_piped_output_has_neither_progress_nor_escape_codes(project: Project) -> None:
    output = _eager(project, (), "piped").output
    assert PROGRESS not in output
    assert "\x1b" not in output


class _Session:
    shouldstop = False
    shouldfail = False
    exitstatus: int = pytest.ExitCode.OK


def _finish(reporter: RecordReporter) -> int:
    session: Any = _Session()
    reporter.pytest_sessionfinish(session, session.exitstatus)
    return int(session.exitstatus)


def _reporter(tmp_path: Path, settings: Any) -> RecordReporter:
    return RecordReporter(settings, SessionPart(tmp_path).folder)


@dataclass(frozen=True)
class _Settings:
    results: Path


def test_lost_tests_are_no_success(tmp_path: Path) -> None:
    reporter = _reporter(tmp_path, _Settings(tmp_path / "results.jsonl"))
    reporter.pytest_xdist_node_collection_finished(None, ["test_small.py::test_small[a]"])
    assert _finish(reporter) == pytest.ExitCode.INTERNAL_ERROR


def test_reported_tests_are_not_lost(tmp_path: Path) -> None:
    reporter = _reporter(tmp_path, _Settings(tmp_path / "results.jsonl"))
    node = "test_small.py::test_small[a]"
    reporter.pytest_xdist_node_collection_finished(None, [node])
    report = pytest.TestReport(node, ("test_small.py", 1, "a"), {}, "passed", None, "call")
    reporter.pytest_runtest_logreport(report)
    assert _finish(reporter) == pytest.ExitCode.OK
