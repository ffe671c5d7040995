"""pytest inside pytest: a small project of its own, run as a user would run it."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
# The harness imports torch and scikit-learn, which takes seconds: import them once and fork for every run.
SERVER = """
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

import gradshape_bench.cache.claims
import gradshape_bench.progress

if "IMPATIENT" in os.environ:
    gradshape_bench.cache.claims._QUIET, gradshape_bench.cache.claims._SILENCE = 0.2, 0.4
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

MOONS = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=2))
FLIPS = [LabelFlip(0.0), LabelFlip(0.1)]
DEFENSES = [NoDefense(), GradientShaping(Clip(1))]
HOLDS = [Threshold("rad", "<", 0.99)]
BREAKS = [Threshold("rad", "<", -1)]
"""


_SUITES = {
    "test_small.py": """
@benchmark_cases(Matrix([MOONS], FLIPS, DEFENSES, thresholds=HOLDS))
def test_small(outcome):
    outcome.check()
""",
    "test_modes.py": """
import pytest, torch

@pytest.fixture(autouse=True)
def modes():
    with torch.inference_mode(), torch.device("meta"):
        yield

@benchmark_cases(Matrix([MOONS], FLIPS, DEFENSES, thresholds=HOLDS))
def test_modes(outcome):
    outcome.check()
""",
    "test_cost.py": """
from gradshape_bench.protocols import Utility
from gradshape.attacks import NoAttack

@benchmark_cases(Matrix([MOONS], [NoAttack()], DEFENSES, thresholds=[], protocol=Utility()))
def test_cost(outcome):
    outcome.check()
""",
    "test_mixed.py": """
from gradshape.attacks import DictionaryAttack, OptP
from gradshape.training import Fit

SVM = Task("two_moons", Fit("svm_linear"))
ATTACKS = [LabelFlip(0.1), OptP(0.1), DictionaryAttack(0.1)]

@benchmark_cases(Matrix([MOONS, SVM], ATTACKS, DEFENSES, thresholds=HOLDS))
def test_mixed(outcome):
    outcome.check()
""",
    "nothing.py": """
from gradshape.training import Fit

@benchmark_cases(Matrix([Task("two_moons", Fit("svm_linear"))], FLIPS, DEFENSES[1:], thresholds=HOLDS))
def test_nothing(outcome):
    outcome.check()
""",
    "test_broken.py": """
@benchmark_cases(Matrix([MOONS], FLIPS, DEFENSES, thresholds=BREAKS))
def test_broken(outcome):
    outcome.check()
""",
    "test_expected.py": """
KNOWN = ExpectedFailure("known to be missed", "Someone 2020, Fig. 1")

@benchmark_cases(Matrix([MOONS], FLIPS[:1], DEFENSES[:1], thresholds=BREAKS, expected_failures=[Expect(KNOWN)]))
def test_misses(outcome):
    outcome.check()

@benchmark_cases(Matrix([MOONS], FLIPS[1:], DEFENSES[:1], thresholds=HOLDS, expected_failures=[Expect(KNOWN)]))
def test_holds(outcome):
    outcome.check()
""",
    "test_missing.py": """
PLACES = Task("location30", MOONS.recipe)

@benchmark_cases(Matrix([PLACES], FLIPS[:1], DEFENSES[:1], thresholds=HOLDS))
def test_missing(outcome):
    outcome.check()
""",
    "test_unknown.py": """
TYPO = Task("two_mons", MOONS.recipe)

@benchmark_cases(Matrix([TYPO, MOONS], FLIPS[:1], DEFENSES[:1], thresholds=HOLDS))
def test_unknown(outcome):
    outcome.check()
""",
    "test_ambiguous.py": """
OTHER = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=3))

@benchmark_cases(Matrix([MOONS], FLIPS[:1], DEFENSES[:1], thresholds=HOLDS))
def test_one(outcome):
    outcome.check()

@benchmark_cases(Matrix([OTHER], FLIPS[:1], DEFENSES[:1], thresholds=HOLDS))
def test_other(outcome):
    outcome.check()
""",
    "test_raising.py": """
@dataclass(frozen=True)
class Raising(Attack):
    threat = LabelFlip.threat
    label = "raising"

    def budget(self, train_rows):
        return 3

    def craft(self, victim, count, *, generator):
        return self.deeper(count)

    def deeper(self, count):
        raise ValueError(f"count={count}: no room on the shelf")

@benchmark_cases(Matrix([MOONS], [Raising()], DEFENSES[:1], thresholds=HOLDS))
def test_raising(outcome):
    outcome.check()
""",
    "test_alike.py": """
@dataclass(frozen=True)
class Named(LabelFlip):
    name: str = ""

    @property
    def label(self):
        return self.name

NAMES = ["a", "a.b", "a[0]", "a[0].b", "a-vanilla", "it's"]

@benchmark_cases(Matrix([MOONS], [Named(0.1, name=name) for name in NAMES], DEFENSES[:1], thresholds=HOLDS))
def test_alike(outcome):
    outcome.check()

def test_beside():
    pass
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

@benchmark_cases(Matrix([MOONS], [Fatal(f) for f in (0.1, 0.2, 0.3)], DEFENSES[:1], thresholds=HOLDS))
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


@dataclass(frozen=True)
class Killed:
    """Exit status, results file and open cases of a run that was killed, and the run after it."""

    status: int
    left: list[str]
    open: set[tuple[str, str]] | None
    run: Run
