"""Tests that were never reported are no success."""

from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.reporter import RecordReporter


class _Session:
    shouldstop = False
    shouldfail = False
    exitstatus: int = pytest.ExitCode.OK


def _finish(reporter: RecordReporter) -> int:
    session: Any = _Session()
    reporter.pytest_sessionfinish(session, session.exitstatus)
    return int(session.exitstatus)


def test_lost_tests_are_no_success(tmp_path: Path) -> None:
    reporter = RecordReporter(tmp_path / "results.jsonl", tmp_path)
    reporter.pytest_xdist_node_collection_finished(None, ["test_small.py::test_small[a]"])
    assert _finish(reporter) == pytest.ExitCode.INTERNAL_ERROR


def test_reported_tests_are_not_lost(tmp_path: Path) -> None:
    reporter = RecordReporter(tmp_path / "results.jsonl", tmp_path)
    node = "test_small.py::test_small[a]"
    reporter.pytest_xdist_node_collection_finished(None, [node])
    report = pytest.TestReport(node, ("test_small.py", 1, "a"), {}, "passed", None, "call")
    reporter.pytest_runtest_logreport(report)
    assert _finish(reporter) == pytest.ExitCode.OK
