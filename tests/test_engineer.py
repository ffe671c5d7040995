"""The engineer's repository and its gate: the workflow's steps are run on what the example's README changes."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "engineer"
WORKFLOW = (EXAMPLE / ".github" / "workflows" / "robustness.yml").read_text(encoding="utf-8")
STEPS = {
    name: (options, textwrap.dedent(script))
    for name, options, script in re.findall(
        r"^      - name: (.*?)\n((?:        if:.*\n)?)        run: (?:\|\n)?(.*?)(?=^      - |\Z)",
        WORKFLOW,
        re.MULTILINE | re.DOTALL,
    )
}
BASE, CHANGE, JUDGE = STEPS
CLAIMS = re.findall(
    r"^\| `(.+?)` \| (?:`(.+?)` )?\| (red|green) \|$", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)
# What a runner has on its path; gradshape is imported from here, so that there is nothing to install.
PROGRAMS = {
    "pip": "exit 0",
    "python": f"""
if [ "$1 $2" = "-m venv" ]; then mkdir "$3" && cp -r "${{0%/*}}" "$3/bin"; else "{sys.executable}" "$@"; fi
""",
    "pytest": f'"{sys.executable}" -m pytest "$@"',
    "gradshape": f'"{sys.executable}" -m gradshape_bench "$@"',
}


@dataclass(frozen=True)
class Runner:
    """A machine of the CI; ``shared`` is what both revisions write to, and ``own`` what the change does."""

    checkout: Path
    shared: Path
    own: Path

    def step(self, name: str) -> tuple[int, str]:
        """Run a step of the workflow as its shell does, with ``/tmp`` elsewhere; return its status and its log."""
        _, script = STEPS[name]
        script = script.replace("/tmp/new", f"{self.own}/new").replace("/tmp/", f"{self.shared}/")
        return self.call(script.replace("${{ github.event.pull_request.base.sha }}", "HEAD"))

    def call(self, script: str) -> tuple[int, str]:
        outer = ("PYTEST_", "GRADSHAPE", "GIT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        (tests,) = re.findall(r"^      RUN: (.*)$", WORKFLOW, re.MULTILINE)
        environment = kept | {
            "PATH": os.pathsep.join([str(self.shared / "bin"), kept["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "bench")]),
            "OMP_NUM_THREADS": "1",
            "RUN": tests.replace("/tmp/", f"{self.shared}/"),
            "GRADSHAPE": "gradshape",
            "GITHUB_STEP_SUMMARY": str(self.own / "summary.md"),
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner that has measured the base revision."""
    shared = tmp_path_factory.mktemp("runner")
    (shared / "bin").mkdir()
    for name, script in PROGRAMS.items():
        (shared / "bin" / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (shared / "bin" / name).chmod(0o755)
    ignored = shutil.ignore_patterns("results", ".*cache", ".gradshape", "__pycache__")
    checkout = shutil.copytree(EXAMPLE, shared / "checkout", ignore=ignored)
    found = Runner(checkout, shared, shared)
    commit = "git init -q && git add . && git -c user.name=us -c user.email=us@example.org commit -q -m 'The base'"
    status, said = found.call(commit)
    assert status == 0, said
    status, said = found.step(BASE)
    assert status == 0, said
    assert "6 cases: 6 passed" in said
    return found


def test_its_other_tests_pass(runner: Runner) -> None:
    status, said = runner.call("pytest tests/test_training.py")
    assert status == 0, said


def test_the_workflow_judges_in_its_last_steps_whatever_became_of_the_one_before() -> None:
    assert re.search(r"^defaults:\n  run:\n    shell: bash\b", WORKFLOW, re.MULTILINE), "no pipefail without it"
    assert len(STEPS) == 3
    assert STEPS[JUDGE][0].strip() == "if: always()"


def test_the_readme_says_of_each_defence_what_the_gate_does() -> None:
    assert [job for _, _, job in CLAIMS] == ["red", "red", "red", "green"]


@pytest.mark.parametrize(("there", "becomes", "job"), CLAIMS, ids=["clipping", "filter", "epochs", "comment"])
def test_the_gate_does_what_the_readme_says(runner: Runner, tmp_path: Path, there: str, becomes: str, job: str) -> None:
    checkout = shutil.copytree(runner.checkout, tmp_path / "checkout")
    training = checkout / "src" / "pumps" / "training.py"
    source = training.read_text(encoding="utf-8")
    assert source.count(there) == 1
    training.write_text(source.replace(there, becomes), encoding="utf-8")
    changed = Runner(checkout, runner.shared, tmp_path)
    expected = 1 if job == "red" else 0
    for name in (CHANGE, JUDGE):
        status, said = changed.step(name)
        assert status == expected, said
    assert said == (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert said.startswith("**Regression**" if expected else "**No regression**")
