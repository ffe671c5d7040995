"""The reporter of a run: it stores records as tests report them, and writes the pages at the end."""

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.collector import uncollected
from gradshape_bench.interrupts import count_interrupts
from gradshape_bench.plain_text import message_of, plain
from gradshape_bench.records.pending import Key, Pending
from gradshape_bench.records.record import NOT_APPLICABLE, Record, Status
from gradshape_bench.records.running import Running
from gradshape_bench.records.store import PATIENCE, Contents, ResultsFile, described
from gradshape_bench.report import junit
from gradshape_bench.report.beside import PAGES, Page, path_beside, write_page
from gradshape_bench.report.summary import summarize, tally
from gradshape_bench.report.terminal import Line, Tone, terminal_width

RECORD_PROPERTY = "gradshape_record"
STUBS = "cases.json"
# Seconds to wait for a lock that could not be had before: a run of a thousand cases should not wait for each.
_HURRIED = 0.2
# How many things of a kind a line names.
_NAMED = 5
# pytest leaves it out where colours are unwanted: --color, NO_COLOR, no terminal.
_MARKUP: Mapping[Tone, dict[str, bool]] = {
    Tone.PLAIN: {},
    Tone.GOOD: {"green": True},
    Tone.UNSURE: {"yellow": True},
    Tone.BAD: {"red": True},
}


class RecordReporter:
    """Stores records as tests report them and writes the reports, in the process that the user started.

    Nothing that goes wrong with a file ends the run: records that cannot be stored are kept in memory and tried again
    with each further record and at the end; those that are left then go to a file in the temporary folder, or to the
    terminal. What was not stored is said at the end, and the exit status says so, too.

    Args:
        results: path of the results file; the pages lie beside it.
        folder: scratch folder that all processes of the session share.
    """

    def __init__(self, results: Path, folder: Path) -> None:
        self._results = ResultsFile(results)
        self._pending = Pending(results)
        self._folder = folder
        self._running = Running(results)
        self._config: pytest.Config | None = None
        self._records: dict[str, Record] = {}
        self._unstored: list[Record] = []
        self._patience = PATIENCE
        self._contents: Contents | None = None
        self._selected: dict[str, Key] = {}
        self._expected: set[str] = set()
        self._reported: set[str] = set()
        self._lost = 0
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._homeless: list[str] = []

    @property
    def records(self) -> Collection[Record]:
        """The records of this run so far."""
        return self._records.values()

    @property
    def selected(self) -> Collection[Key]:
        """The cases that this run has to record."""
        return set(self._selected.values())

    def select(self, cases: Mapping[str, Key]) -> None:
        """Note which cases this run has to record, by the node id of their tests, before any of them runs.

        Raises:
            pytest.UsageError: the list of such cases beside the results file cannot be changed.
        """
        self._selected.update(cases)
        try:
            self._pending.add(cases.values())
        except (OSError, ValueError) as error:
            raise pytest.UsageError(plain(f"--results: {error}")) from error

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
        if self._config is not None and self._expected and (self._folder / STUBS).exists():
            count_interrupts(self._config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the record that a finished test carries, and show the JUnit file, which comes next, its metrics."""
        self._reported.add(report.nodeid)
        if report.when == "teardown" and report.nodeid in self._records:
            self._describe(report)
        if report.nodeid in self._records:
            return
        text = dict(report.user_properties).get(RECORD_PROPERTY)
        record = self._crashed(report) if str(report.when) == "???" else None
        if isinstance(text, str):
            try:
                record = Record.from_json(text)
            except ValueError as error:
                self._problems.append(plain(f"{report.nodeid} reported what is no record: {error}"))
        if record is not None:
            self._records[report.nodeid] = record
            self._unstored.append(record)
            self._store()

    def _describe(self, report: pytest.TestReport) -> None:
        """Have the JUnit file describe a test by its metrics; it shows the properties of the last report of each."""
        if self._config is not None and self._config.getoption("xmlpath", None):
            others = [(name, value) for name, value in report.user_properties if name != RECORD_PROPERTY]
            report.user_properties = [*others, *junit.properties(self._records[report.nodeid])]

    def _store(self) -> OSError | None:
        """Store the records that are not stored yet, in their order; return the error that keeps one from it."""
        while self._unstored:
            try:
                self._results.append(self._unstored[0], patience=self._patience)
            except OSError as error:
                self._patience = _HURRIED
                return error
            del self._unstored[0]
            self._patience = PATIENCE
        return None

    def _crashed(self, report: pytest.TestReport) -> Record | None:
        try:
            stub = json.loads(self.stubs()[report.nodeid])
        except (KeyError, ValueError):
            return None
        at = [job for remains in self._running.collect(stub["case"]) for job in remains.jobs]
        reason = ": ".join(["the worker process died while it ran this case", *at])
        return Record.from_json(json.dumps({**stub, "reason": reason}))

    def stubs(self) -> Mapping[str, str]:
        """Return the records without measurements that a worker process left of the cases, by node id, as JSON."""
        try:
            stubs: Mapping[str, str] = json.loads((self._folder / STUBS).read_text(encoding="utf-8"))
            return stubs
        except (OSError, ValueError):
            return {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Remember which tests the workers must report."""
        self._expected.update(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Store what is not stored yet, and write the reports."""
        stopped = bool(session.shouldstop or session.shouldfail)
        self._lost = 0 if stopped else len(self._expected - self._reported)
        if self._records:
            self._finish()
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            self._selected.clear()
        fine = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if fine and (self._lost or self._problems):
            # A worker that dies of an internal error can leave unreported tests and exit status 0.
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif fine and (self._unrecorded() or self._nothing_applies()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _unrecorded(self) -> list[str]:
        return sorted(case for nodeid, (_, case) in self._selected.items() if nodeid not in self._records)

    def _nothing_applies(self) -> bool:
        """Return whether every case of this run was skipped because its parts do not go together."""
        reasons = [(record.status, record.reason or "") for record in self._records.values()]
        return bool(reasons) and all(
            status is Status.SKIPPED and reason.startswith(NOT_APPLICABLE) for status, reason in reasons
        )

    @uncollected()
    def _finish(self) -> None:
        self._patience = PATIENCE
        error = self._store()
        if error is not None:
            self._patience = _HURRIED
        unstored = {record.key for record in self._unstored}
        stored = {record.key for record in self._records.values()} - unstored
        self._attempt(
            "the list of open cases is not renewed", lambda: self._pending.discard(stored, patience=self._patience)
        )
        self._attempt("the results file is not compacted", self._compact)
        self._attempt("the pages are not renewed", self._write_pages)
        if error is not None:
            self._keep_elsewhere(error)

    def _keep_elsewhere(self, error: OSError) -> None:
        """Write the records that the results file does not take to a new file or, at last, to the terminal."""
        count = "1 record is" if len(self._unstored) == 1 else f"{len(self._unstored)} records are"
        said = f"{count} not stored in {self._results.path}: {message_of(error)}"
        lines = [record.to_json() for record in self._unstored]
        try:
            file, path = tempfile.mkstemp(prefix="gradshape-results-", suffix=".jsonl")
            with os.fdopen(file, "w", encoding="utf-8") as opened:
                opened.writelines(f"{line}\n" for line in lines)
            self._problems.append(f"{said}; see {path}, and append it to the results file once that can be written")
        except OSError as other:
            self._problems.append(f"{said}; nor elsewhere: {message_of(other)}: append these lines to it yourself:")
            self._homeless = lines

    def _compact(self) -> None:
        self._contents = self._results.compact(patience=self._patience)

    def _write_pages(self) -> None:
        contents = self._contents or self._results.read()
        if contents.left_out:
            self._notes.append(described(contents.left_out))
        for page in PAGES:
            if any(map(page.concerns, contents.records)):
                name = path_beside(self._results.path, page).name
                self._attempt(f"{name} is not renewed", partial(self._write_page, page, contents.records))

    def _write_page(self, page: Page, records: Sequence[Record]) -> None:
        self._notes += write_page(page, records, self._results.path)

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ValueError) as error:
            self._problems.append(plain(f"{what}: {message_of(error)}"))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Summarize the records of this run and show where the reports are."""
        records = list(self._records.values())
        if records:
            terminalreporter.section("gradshape")
            for line in self._lines(records):
                terminalreporter.write_line(line.text, **_MARKUP[line.tone])
        for note in self._notes:
            terminalreporter.write_line(f"gradshape: {note}", yellow=True)
        if self._lost:
            terminalreporter.write_line(f"gradshape: {self._lost} selected tests were never reported", red=True)
        if unrecorded := self._unrecorded():
            have = "case has" if len(unrecorded) == 1 else "cases have"
            terminalreporter.write_line(
                f"gradshape: {len(unrecorded)} selected {have} no record: {_some(unrecorded)}", red=True
            )
        if self._nothing_applies():
            terminalreporter.write_line("gradshape: nothing was measured: no selected case applies", red=True)
        for problem in self._problems:
            terminalreporter.write_line(f"gradshape: {problem}", red=True)
        for text in self._homeless:
            terminalreporter.write_line(text)

    def _lines(self, records: Sequence[Record]) -> list[Line]:
        try:
            lines = summarize(records, width=terminal_width())
        except Exception as error:
            # Details of a user's own experiment may be of any kind.
            lines = [Line(tally(records)), Line(f"the table cannot be made: {message_of(error)}")]
        results = self._results.path
        pages = [page for page in PAGES if any(map(page.concerns, records))]
        places = {"results": results} | {page.about: path_beside(results, page) for page in pages}
        return lines + [Line(f"{about}: {path}") for about, path in places.items()]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
