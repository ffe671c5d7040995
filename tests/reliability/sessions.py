"""Whole runs of pytest in processes of their own, which can be interrupted and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")
ROOT = Path(__file__).parents[2]
# Seconds after which something is taken to hang, on a machine that does much else, too.
PATIENCE = 400.0
# The harness imports torch and scikit-learn, which takes seconds: import them once and fork for every run.
_SERVER = """
import json, multiprocessing, os, signal, sys
import pytest, scipy.stats, sklearn.datasets, xdist.plugin
import gradshape_bench.report.leaderboard, gradshape_bench.session, gradshape_bench.report.summary
import gradshape_bench.interrupts, tests.reliability.faulty
from gradshape_bench.engines import worker_process
# What a run has to end by itself is waited for in full by those that never do.
gradshape_bench.interrupts._WITHIN = 1.0
for line in sys.stdin:
    job = json.loads(line)
    if isinstance(job, int):
        pid, status = os.waitpid(job, os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if job["processors"]:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["processors"]])
        if job["quick_workers"]:
            multiprocessing.set_forkserver_preload(["gradshape_bench.engines.worker", "tests.reliability.faulty"])
            worker_process._START = "forkserver"
            worker_process.WorkerProcess.silence = lambda self: 1e9 if os.path.exists(f"sleep-{self.pid}") else 0.0
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, 0o600)
        os.dup2(output, 1), os.dup2(output, 2)
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        # As a program would end: what it waits for there is waited for here.
        sys.exit(int(pytest.main(job["arguments"])))
    print(child, flush=True)
"""
_SUITE = """
from gradshape.attacks import LabelFlip
from gradshape.defenses import NoDefense
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Task
from gradshape_bench.matrix import Matrix, benchmark_cases
from gradshape_bench.verdict import Threshold
from tests.reliability.faulty import Faulty

MOONS = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=1))
ATTACKS = {attacks}

@benchmark_cases(Matrix([MOONS], ATTACKS, [NoDefense()], thresholds=[Threshold("rad", "<", 0.99)]))
def test_case(outcome):
    outcome.check()
"""


@dataclass
class Session:
    """A run of pytest, which may still be going on.

    Attributes:
        pid: of its process.
        folder: where it runs; jobs that take a faulty way leave a file there.
        ask: returns the exit status, or ``None`` while it runs; once it has ended it must not be called again.
    """

    pid: int
    folder: Path
    ask: Callable[[], int | None]
    status: int | None = None

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Its records by the label of the attack, without what two equal runs may differ in."""
        lines = self.results.read_text(encoding="utf-8").splitlines() if self.results.exists() else []
        times = ("seconds", "costs")
        documents = [json.loads(line) for line in lines]
        return {one["attack"]: {key: one[key] for key in one if key not in times} for one in documents}

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        """Return the exit status; ``None`` while it runs."""
        if self.status is None:
            self.status = self.ask()
        return self.status

    def wait(self) -> int:
        """Wait for its end and return the exit status."""
        return wait_for(self.poll, lambda: self.output)

    def went(self, way: str) -> list[int]:
        """Wait until a job takes that way, and return the processes that did."""
        return wait_for(lambda: [int(path.name.rpartition("-")[2]) for path in self.folder.glob(f"{way}-*")] or None)

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)


class Server:
    """Starts sessions."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._sessions: list[Session] = []

    def start(
        self, folder: Path, attacks: str, *arguments: str, processors: int = 0, quick_workers: bool = False
    ) -> Session:
        """Start pytest in ``folder`` on a suite of these attacks.

        Args:
            folder: a new folder, or one of an earlier session that is to be continued.
            attacks: source of a list of attacks.
            processors: how many it may use; 0 for all.
            quick_workers: whether its worker processes are forked from one that has imported PyTorch, and those that
                have gone to sleep are taken to have slept for longer than any limit, while nothing else takes time.
        """
        folder.mkdir(exist_ok=True)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_suite.py").write_text(_SUITE.replace("{attacks}", attacks))
        for path in (folder / "output.txt", *folder.glob("*-*")):
            path.unlink(missing_ok=True)
        places = ["--results", f"{folder}/results.jsonl", "--cache-dir", f"{folder}/cache", "--seeds", "2"]
        pid = self._ask(
            {
                "folder": str(folder),
                "arguments": ["-p", "no:cacheprovider", *places, *arguments],
                "output": str(folder / "output.txt"),
                "environment": {"FAULTY": str(folder), "COLUMNS": "120"},
                "processors": processors,
                "quick_workers": quick_workers,
            }
        )
        self._sessions.append(Session(pid, folder, lambda: self._ask(pid)))
        return self._sessions[-1]

    def kill_all(self) -> None:
        """End whatever a failed test has left."""
        for session in self._sessions:
            if session.poll() is None:
                for pid in [*descendants(session.pid), session.pid]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _ask(self, what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def serving() -> Iterator[Server]:
    # Nothing of the outer run may reach the inner ones.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        server = Server(process)
        try:
            yield server
        finally:
            server.kill_all()
            assert process.stdin is not None
            process.stdin.close()


def wait_for(look: Callable[[], Found | None], explain: Callable[[], str] = lambda: "") -> Found:
    """Look until there is something, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing came of it in {PATIENCE} s\n{explain()}")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started, that still run."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(folder.name)] = int(parent)
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [each for child in found for each in descendants(child)]


def runs(pid: int, what: str) -> bool:
    """Return whether that process still runs and has ``what`` in its command line."""
    try:
        return what in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False
