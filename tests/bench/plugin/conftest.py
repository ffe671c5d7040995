"""Runs of pytest in a small project, each done once for all tests that look at it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gradshape_bench.records.pending import Pending
from tests.bench.plugin.project import ROOT, SERVER, Killed, Project, Run


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    # Nothing of the outer run may reach the inner ones.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        yield Project(tmp_path_factory.mktemp("project"), server)
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="package")
def serial(project: Project) -> Run:
    return project.run("test_small.py", into="serial")


@pytest.fixture(scope="package")
def again(project: Project, serial: Run) -> tuple[dict[str, dict[str, Any]], Run]:
    """The records of the first run, and the second run."""
    before = serial.records
    return before, project.run("test_small.py", into="serial")


@pytest.fixture(scope="package")
def parallel(project: Project) -> Run:
    """Two processes, and a case that ends its own; in one run, because every process takes seconds to start."""
    return project.run("test_small.py", "test_fatal.py", "-n", "2", into="parallel", EXIT="1")


@pytest.fixture(scope="package")
def broken(project: Project) -> Run:
    return project.run("test_broken.py", "-x", into="broken")


@pytest.fixture(scope="package")
def expected(project: Project) -> Run:
    return project.run("test_expected.py", into="expected")


@pytest.fixture(scope="package")
def missing(project: Project) -> Run:
    return project.run("test_missing.py", "--offline", into="missing")


@pytest.fixture(scope="package")
def killed(project: Project) -> Killed:
    first = project.run("test_fatal.py", into="killed", KILL="1")
    left = first.results.read_text(encoding="utf-8").splitlines(keepends=True)
    return Killed(first.status, left, Pending(first.results).keys(), project.run("test_fatal.py", into="killed"))
