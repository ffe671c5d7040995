"""The pytest plugin: it adds options, runs cases as tests, and writes reports at the end."""

import json
import logging
import shutil
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gradshape import _global_state
from gradshape_bench import blame, failures, mark_expressions, options, project_settings, selection
from gradshape_bench.cache import Faults
from gradshape_bench.case import Case
from gradshape_bench.gate.at_end import gate_of
from gradshape_bench.interrupts import count_interrupts
from gradshape_bench.left_out_report import LeftOutReport
from gradshape_bench.matrix import MARK, all_cases, all_left_out
from gradshape_bench.options import Settings
from gradshape_bench.places import check_places, ignored_by_git
from gradshape_bench.plain_text import plain, sendable
from gradshape_bench.progress import progress_line, say
from gradshape_bench.records.record import MISSING_DATA, Record, Status
from gradshape_bench.records.store import write_atomically
from gradshape_bench.reporter import RECORD_PROPERTY, STUBS, RecordReporter
from gradshape_bench.selection import case_of, file_of
from gradshape_bench.session import BenchSession, CaseOutcome, SessionPart, ThresholdMissed, Unmeasured, blank_record
from gradshape_bench.sharding import Sharding

# Where a worker process tells the controller why no case can run.
REFUSAL = "refusal.txt"
_FAULTS = "gradshape_cache_faults"
SETTINGS = pytest.StashKey[Settings]()
PART = pytest.StashKey[SessionPart]()
_session = pytest.StashKey[BenchSession]()
_faults = pytest.StashKey[Faults]()
_checked = pytest.StashKey[bool]()
_left_out = pytest.StashKey[LeftOutReport]()
REPORTER = pytest.StashKey[RecordReporter]()


# Names of the options, and whether each stands alone, without a value.
_flags: dict[str, bool] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    _flags.update(options.add_options(parser))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Put the settings of the project before the arguments that were given."""
    # A worker process is given those of the process that the user started.
    if not hasattr(early_config, "workerinput"):
        try:
            args[:0] = project_settings.arguments(early_config.rootpath, _flags)
        except ValueError as error:
            raise pytest.UsageError(plain(str(error))) from error


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "case(dataset, model, protocol, attack, defense): labels of a benchmark case, "
        "for exact selection like -m \"case(dataset='cifar10', attack='label_flip_40')\"",
    )
    config.addinivalue_line("markers", f"{MARK}(*matrices): run the test once for every case of the matrices")
    settings = options.read(config)
    config.stash[SETTINGS] = settings
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        part = SessionPart(Path(worker["gradshape_folder"]), worker["workercount"], _worker_index(config))
        config.stash[PART] = part
        config.stash[_left_out] = LeftOutReport(config, part.folder)
        config.pluginmanager.register(config.stash[_left_out], "gradshape-left-out")
        _register_sharding(config)
        return
    try:
        config.stash[PART] = SessionPart.alone()
    except OSError as error:
        raise pytest.UsageError(f"the temporary folder cannot be written: {error}") from error
    _register_sharding(config)
    config.stash[_faults] = Faults()
    config.stash[_left_out] = LeftOutReport(config, config.stash[PART].folder)
    config.pluginmanager.register(config.stash[_left_out], "gradshape-left-out")
    reporter = RecordReporter(settings.results, config.stash[PART].folder)
    config.stash[REPORTER] = reporter
    config.pluginmanager.register(reporter, "gradshape-reporter")
    gate = gate_of(settings, reporter)
    if gate is not None:
        config.pluginmanager.register(gate, "gradshape-gate")
    config.add_cleanup(lambda: shutil.rmtree(config.stash[PART].folder, ignore_errors=True))


def _register_sharding(config: pytest.Config) -> None:
    settings, part = config.stash[SETTINGS], config.stash[PART]
    if settings.shard is not None:
        sharding = Sharding(settings.shard, settings, part.folder, first=part.index == 0)
        config.pluginmanager.register(sharding, "gradshape-sharding")


def _worker_index(config: pytest.Config) -> int:
    return int(str(config.workerinput["workerid"]).removeprefix("gw"))  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send a worker process the path of the session's folder."""
    node.workerinput["gradshape_folder"] = str(node.config.stash[PART].folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    settings = metafunc.config.stash[SETTINGS]
    cases = all_cases(mark.args, settings.scale, settings.seeds)
    metafunc.config.stash[_left_out].add(all_left_out(mark.args, settings.scale))
    metafunc.parametrize("case", [_parameter(case) for case in cases])


def _parameter(case: Case) -> Any:
    marks = [pytest.mark.case(**case.labels)]
    if case.expected_failure is not None:
        # Not strict: an unexpected pass near the bound is reported and does not fail the run.
        marks.append(pytest.mark.xfail(reason=str(case.expected_failure), raises=ThresholdMissed, strict=False))
    return pytest.param(case, id=case.id, marks=marks)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the cases that ``--case`` names, and say what ``-m`` asks of cases in vain."""
    _check_marks(config, items)
    wanted = config.stash[SETTINGS].cases
    if not wanted:
        return
    problem = selection.problem(items, wanted, config.stash[SETTINGS].scale)
    left_out = selection.keep(items, wanted)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    # A file that cannot be imported may be the one that has the case.
    if problem is not None and not session.testsfailed:
        _refuse(config, problem)


def _check_marks(config: pytest.Config, items: list[pytest.Item]) -> None:
    expression = str(config.option.markexpr or "")
    try:
        mark_expressions.check_keywords(expression)
    except ValueError as error:
        _refuse(config, f"-m: {error}")
        return
    labels = [case.labels for item in items if (case := case_of(item)) is not None]
    config.stash[_left_out].note(mark_expressions.unmatched(expression, labels) if labels else ())


def _refuse(config: pytest.Config, problem: str) -> None:
    """End the run before it begins; from a worker process, by way of the controller.

    Raises:
        pytest.UsageError: unless this is a worker process.
    """
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(problem)
    refusal = config.stash[PART].folder / REFUSAL
    refusal.write_text(problem, encoding="utf-8", errors="backslashreplace")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Prepare for the selected cases: first of all hooks, as xdist's tells the controller that it may go on."""
    config = session.config
    items = {item: case for item in session.items if (case := case_of(item)) is not None}
    cases = {item.nodeid: case for item, case in items.items()}
    if not cases or config.option.collectonly:
        return
    part = config.stash[PART]
    try:
        running = BenchSession(
            cases.values(),
            config.stash[SETTINGS],
            part,
            config.rootpath,
            progress_line(config),
            # Whoever stops at the first failure does not want later cases to run.
            ahead=1 if config.option.maxfail else None,
            tell=partial(say, config),
        )
    except ValueError as error:
        _refuse(config, str(error))
        return
    config.stash[_session] = running
    # Cleaned up in reverse order: the second interrupt has to work until all else is closed.
    count_interrupts(config)
    config.add_cleanup(running.close)
    if not hasattr(config, "workerinput"):
        _select(config, {nodeid: (case.scale.value, case.id) for nodeid, case in cases.items()})
    elif part.index == 0:
        # The controller knows no cases: it needs these to record which one a worker that dies was running.
        stubs = {
            item.nodeid: replace(blank_record(case, Status.CRASHED), test=file_of(item)).to_json()
            for item, case in items.items()
        }
        write_atomically(part.folder / STUBS, [json.dumps(stubs)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Check, before any worker runs a case, what a run of one process checks when it has collected."""
    config = node.config
    refusal = config.stash[PART].folder / REFUSAL
    if refusal.exists():
        raise pytest.UsageError(refusal.read_text(encoding="utf-8"))
    stubs = config.stash[REPORTER].stubs()
    if stubs and not config.stash.get(_checked, False):
        records = {nodeid: Record.from_json(text) for nodeid, text in stubs.items()}
        _select(config, {nodeid: record.key for nodeid, record in records.items()})


def _select(config: pytest.Config, cases: Mapping[str, tuple[str, str]]) -> None:
    """Note the selected cases, once their results can be stored.

    Raises:
        pytest.UsageError: they cannot.
    """
    config.stash[_checked] = True
    settings = config.stash[SETTINGS]
    defaults = {config.rootpath / options.RESULTS.parent, config.rootpath / options.CACHE}
    ignored_by_git(defaults & {settings.results.parent, *([settings.cache_dir] if settings.use_cache else [])})
    check_places(settings, _others_files(config))
    config.stash[REPORTER].select(cases)


def _others_files(config: pytest.Config) -> list[tuple[str, Path]]:
    """Return the files that pytest itself is to write: their options and paths."""
    given = {"--junit-xml": config.getoption("xmlpath", None), "--log-file": config.getoption("log_file", None)}
    return [(option, config.invocation_params.dir / path) for option, path in given.items() if path]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop background jobs before a test that measures time."""
    running = item.config.stash.get(_session, None)
    if running is not None and "benchmark" in getattr(item, "fixturenames", ()):
        running.rest()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what went wrong in the cache of a worker process to the process that the user started."""
    running, output = session.config.stash.get(_session, None), getattr(session.config, "workeroutput", None)
    if running is not None and output is not None:
        output[_FAULTS] = running.cache_faults.pack()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what went wrong in the cache of a worker process; one that died says nothing."""
    packed = getattr(node, "workeroutput", {}).get(_FAULTS)
    if packed is not None:
        node.config.stash[_faults].add(packed)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say in one line, below the summary of the records, what went wrong in the cache."""
    running = config.stash.get(_session, None)
    line = (config.stash[_faults] if running is None else running.cache_faults).line()
    if line is not None:
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture
def outcome(request: pytest.FixtureRequest, case: Case) -> CaseOutcome:
    """The outcome of this test's case.

    The case runs when the test first looks at the outcome, so that pytest reports it as part of the test's own phase.
    """
    config, node = request.config, request.node

    def measure() -> Record:
        __tracebackhide__ = True
        try:
            # Fixtures may have put the test into other modes, in which nothing could be trained.
            with _global_state.usual_modes():
                record = config.stash[_session].run(case)
        except Unmeasured as error:
            unmeasured = error
        else:
            return _attach(node, record)
        _attach(node, unmeasured.record)
        if unmeasured.record.status is Status.SKIPPED:
            pytest.skip(str(unmeasured))
        if str(unmeasured).startswith(MISSING_DATA):
            pytest.fail(str(unmeasured), pytrace=False)
        cause = unmeasured.__cause__
        raise unmeasured.with_traceback(None if cause is None else blame.users_part(cause)) from None

    return CaseOutcome(
        case,
        measure,
        strict=config.stash[SETTINGS].strict_verdicts,
        test=selection.path_of(node),
        taken=options.taken(config),
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give every case that did not pass a record, and show of a failed one what concerns the user."""
    report = yield
    case, running = case_of(item), item.config.stash.get(_session, None)
    if case is None or running is None or call.excinfo is None:
        return report
    failures.shorten(report, item, call.excinfo)
    if not report.passed and RECORD_PROPERTY not in dict(report.user_properties):
        # The test, a fixture or a mark ended it before it looked at its outcome.
        _attach(item, running.unmeasured(case, call.excinfo.value))
        report.user_properties = list(item.user_properties)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Let no character of a report end the session on its way from a worker process to the controller."""
    data: dict[str, Any] | None = yield
    return None if data is None else sendable(data)


def _attach(node: pytest.Item, record: Record) -> Record:
    """Let the reports of a test carry the record, and return it as it is carried."""
    record = replace(record, test=file_of(node))
    # As one string: worker processes can send plain types only.
    node.user_properties.append((RECORD_PROPERTY, record.to_json()))
    return record


logging.getLogger("filelock").setLevel(logging.WARNING)
