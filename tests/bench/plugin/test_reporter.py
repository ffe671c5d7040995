"""Tests that were never reported are no success."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.plugin import RecordReporter
from gradshape_bench.session import SessionPart


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
