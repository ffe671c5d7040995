"""The pytest plugin: it adds options, runs cases as tests, and writes reports at the end."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench import options
from gradshape_bench.case import Case
from gradshape_bench.interrupts import Interrupts
from gradshape_bench.matrix import MARK, all_cases
from gradshape_bench.options import Settings
from gradshape_bench.pending import Pending
from gradshape_bench.progress import progress_line
from gradshape_bench.record import MISSING_DATA, Record, Status
from gradshape_bench.report import leaderboard, ledger, tradeoff
from gradshape_bench.report.summary import summarize
from gradshape_bench.running import Running
from gradshape_bench.session import BenchSession, CaseOutcome, SessionPart, ThresholdMissed, Unmeasured, blank_record
from gradshape_bench.store import ResultsFile

_PROPERTY = "gradshape_record"
_STUBS = "cases.json"
_settings = pytest.StashKey[Settings]()
_part = pytest.StashKey[SessionPart]()
_session = pytest.StashKey[BenchSession]()
_reporter = pytest.StashKey["RecordReporter"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "case(dataset, model, protocol, attack, defense): labels of a benchmark case, "
        "for exact selection like -m \"case(dataset='cifar10', attack='label_flip_40')\"",
    )
    config.addinivalue_line("markers", f"{MARK}(*matrices): run the test once for every case of the matrices")
    settings = options.read(config)
    config.stash[_settings] = settings
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_part] = SessionPart(
            Path(worker["gradshape_folder"]), worker["workercount"], _worker_index(config)
        )
        return
    config.stash[_part] = SessionPart.alone()
    reporter = RecordReporter(settings, config.stash[_part].folder)
    config.stash[_reporter] = reporter
    config.pluginmanager.register(reporter, "gradshape-reporter")
    config.add_cleanup(lambda: shutil.rmtree(config.stash[_part].folder, ignore_errors=True))


def _worker_index(config: pytest.Config) -> int:
    return int(str(config.workerinput["workerid"]).removeprefix("gw"))  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send a worker process the path of the session's folder."""
    node.workerinput["gradshape_folder"] = str(node.config.stash[_part].folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    settings = metafunc.config.stash[_settings]
    cases = all_cases(mark.args, settings.scale, settings.seeds)
    metafunc.parametrize("case", [_parameter(case) for case in cases])


def _parameter(case: Case) -> Any:
    marks = [pytest.mark.case(**case.labels)]
    if case.expected_failure is not None:
        # Not strict: an unexpected pass near the bound is reported and does not fail the run.
        marks.append(pytest.mark.xfail(reason=str(case.expected_failure), raises=ThresholdMissed, strict=False))
    return pytest.param(case, id=case.id, marks=marks)


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    cases = {item.nodeid: case for item in session.items if (case := _case(item)) is not None}
    if not cases or config.option.collectonly:
        return
    part = config.stash[_part]
    try:
        running = BenchSession(
            cases.values(),
            config.stash[_settings],
            part,
            config.rootpath,
            progress_line(config),
            # Whoever stops at the first failure does not want later cases to run.
            ahead=1 if config.option.maxfail else None,
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_session] = running
    # Cleaned up in reverse order: the second interrupt has to work until all else is closed.
    _count_interrupts(config)
    config.add_cleanup(running.close)
    if part.index == 0:
        Pending(config.stash[_settings].results).add((case.scale.value, case.id) for case in cases.values())
    if hasattr(config, "workerinput") and part.index == 0:
        # If a worker dies, only the controller can record which case it was running.
        stubs = {nodeid: blank_record(case, Status.CRASHED).to_json() for nodeid, case in cases.items()}
        (part.folder / _STUBS).write_text(json.dumps(stubs), encoding="utf-8")


def _count_interrupts(config: pytest.Config) -> None:
    if config.option.usepdb or config.option.trace:
        # In a debugger an interrupt ends a line.
        return
    interrupts = Interrupts(silent=hasattr(config, "workerinput"))
    interrupts.install()
    config.pluginmanager.register(interrupts, "gradshape-interrupts")
    config.add_cleanup(interrupts.restore)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop background jobs before a test that measures time."""
    running = item.config.stash.get(_session, None)
    if running is not None and "benchmark" in getattr(item, "fixturenames", ()):
        running.rest()


def _case(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    case = None if callspec is None else callspec.params.get("case")
    return case if isinstance(case, Case) else None


@pytest.fixture
def outcome(request: pytest.FixtureRequest, case: Case) -> CaseOutcome:
    """The outcome of this test's case.

    The case runs when the test first looks at the outcome, so that pytest reports it as part of the test's own phase.
    """
    config, node = request.config, request.node

    def measure() -> Record:
        __tracebackhide__ = True
        try:
            record = config.stash[_session].run(case)
        except Unmeasured as unmeasured:
            _attach(node, unmeasured.record)
            if unmeasured.record.status is Status.SKIPPED:
                pytest.skip(str(unmeasured))
            if str(unmeasured).startswith(MISSING_DATA):
                pytest.fail(str(unmeasured), pytrace=False)
            raise
        _attach(node, record)
        return record

    return CaseOutcome(case, measure, strict=config.stash[_settings].strict_verdicts)


def _attach(node: pytest.Item, record: Record) -> None:
    # As one string: worker processes can send plain types only.
    node.user_properties.append((_PROPERTY, record.to_json()))


class RecordReporter:
    """Stores records as tests report them and writes the reports, in the process that the user started."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._results = ResultsFile(settings.results)
        self._pending = Pending(settings.results)
        self._board = settings.results.with_name("leaderboard.md")
        self._tradeoff = settings.results.with_name("privacy.md")
        self._ledger = settings.results.with_name("reproduction.md")
        self._folder = folder
        self._running = Running(settings.results)
        self._config: pytest.Config | None = None
        self._records: dict[str, Record] = {}
        self._expected: set[str] = set()
        self._reported: set[str] = set()
        self._lost = 0

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Say what earlier runs that died were running, below the header."""
        self._config = session.config
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and not self._config.option.collectonly:
            for remains in self._running.collect():
                terminal.write_line(f"gradshape: an earlier run died while it ran {remains}", yellow=True)

    def pytest_runtest_logstart(self) -> None:
        """Count interrupts in the controller of worker processes, too, if these run cases."""
        config = self._config
        if config is None or config.pluginmanager.has_plugin("gradshape-interrupts"):
            return
        if self._expected and (self._folder / _STUBS).exists():
            _count_interrupts(config)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the record that a finished test carries."""
        self._reported.add(report.nodeid)
        if report.nodeid in self._records:
            return
        text = dict(report.user_properties).get(_PROPERTY)
        record = self._crashed(report) if str(report.when) == "???" else None
        if isinstance(text, str):
            record = Record.from_json(text)
        if record is not None:
            self._records[report.nodeid] = record
            self._results.append(record)

    def _crashed(self, report: pytest.TestReport) -> Record | None:
        try:
            stubs = json.loads((self._folder / _STUBS).read_text(encoding="utf-8"))
            stub = json.loads(stubs[report.nodeid])
        except (OSError, KeyError, ValueError):
            return None
        at = [job for remains in self._running.collect(stub["case"]) for job in remains.jobs]
        reason = ": ".join(["the worker process died while it ran this case", *at])
        return Record.from_json(json.dumps({**stub, "reason": reason}))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Remember which tests the workers must report."""
        self._expected.update(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the reports."""
        stopped = bool(session.shouldstop or session.shouldfail)
        self._lost = 0 if stopped else len(self._expected - self._reported)
        if self._lost and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            # A worker that dies of an internal error can leave unreported tests and exit status 0.
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if self._records:
            self._pending.discard(record.key for record in self._records.values())
            self._results.compact()
            records = self._results.records()
            leaderboard.write(records, self._board)
            if any(map(tradeoff.concerns, records)):
                tradeoff.write(records, self._tradeoff)
            if any(map(ledger.concerns, records)):
                ledger.write(records, self._ledger)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Summarize the records of this run and show where the reports are."""
        if self._lost:
            terminalreporter.write_line(f"gradshape: {self._lost} selected tests were never reported", red=True)
        if not self._records:
            return
        terminalreporter.section("gradshape")
        for line in summarize(list(self._records.values())):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"results: {self._results.path}")
        terminalreporter.write_line(f"leaderboard: {self._board}")
        if any(map(tradeoff.concerns, self._records.values())):
            terminalreporter.write_line(f"utility against privacy: {self._tradeoff}")
        if any(map(ledger.concerns, self._records.values())):
            terminalreporter.write_line(f"reproduction ledger: {self._ledger}")


logging.getLogger("filelock").setLevel(logging.WARNING)
