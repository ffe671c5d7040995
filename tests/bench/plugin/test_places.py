"""Where results and finished jobs go, however the options are spelled."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gradshape_bench.places import ignored_by_git
from tests.bench.plugin.project import ROOT, SMALL, Project

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


@pytest.mark.parametrize("option", ["--junit-xml=results/r.jsonl", "--log-file=results/r-privacy.md"])
def test_a_run_of_pytest_says_so_before_it_computes_anything(project: Project, option: str) -> None:
    status, output = project.pytest("--results=results/r.jsonl", option, "-k", f"test_small and {SMALL[0]}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"ERROR: --results: .*would both be", output)
    assert not re.search(r"\d passed", output)


def test_folders_that_a_run_makes_by_itself_stay_out_of_commits(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")
    (own / "pytest.ini").write_text("[pytest]\n")
    (own / "test_small.py").write_text((project.folder / "test_small.py").read_text())
    subprocess.run(["git", "init", "--quiet"], cwd=own, check=True)
    status, output = project.pytest("--seeds", "1", "-k", SMALL[0], f"--rootdir={own}", str(own / "test_small.py"))
    assert status == 0, output
    assert (own / "results" / "results.jsonl").exists()
    assert (own / ".gradshape" / "jobs").is_dir()
    found = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=own, check=True, capture_output=True)
    assert sorted(found.stdout.decode().split("?? ")[1:]) == [".gitignore\n", "pytest.ini\n", "test_small.py\n"]


def test_folders_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    ignored_by_git([tmp_path / "results", tmp_path / "missing" / "folder"])
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]
    assert not list((tmp_path / "results").iterdir())
