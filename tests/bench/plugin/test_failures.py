"""What a failure shows: a few lines, the reason first, none of the harness's own lines."""

import pytest

from tests.bench.plugin.project import SMALL, Project, Run

MISSED = "rad < -1: measured 0.0000 [0.0000, 0.0000] (n=2): FAIL"
RAISED = "test_raising.py:"
SAID = "ValueError: count=3: no room on the shelf"


def section(run: Run, name: str) -> list[str]:
    """The lines that a failed test shows."""
    lines = run.output.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("_") and name in line)
    last = next(place for place in range(first + 1, len(lines)) if lines[place].startswith(("_", "=")))
    # A worker process says which it is.
    return [line for line in lines[first + 1 : last] if not line.startswith("[gw")]


def short(run: Run) -> list[str]:
    """The lines of pytest's short summary."""
    return [line for line in run.output.splitlines() if line.startswith("FAILED ")]


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["serial", "two processes"])
def missed(project: Project, request: pytest.FixtureRequest) -> Run:
    into = f"missed{len(request.param)}"
    return project.run("test_broken.py", "-rf", "--case", SMALL[0], *request.param, into=into, COLUMNS="200")


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["serial", "two processes"])
def raised(project: Project, request: pytest.FixtureRequest) -> Run:
    return project.run("test_raising.py", "-rf", *request.param, into=f"raised{len(request.param)}", COLUMNS="200")


def test_missed_threshold_shows_its_reason_first(missed: Run) -> None:
    assert section(missed, SMALL[0])[0] == MISSED
    assert short(missed) == [f"FAILED test_broken.py::test_broken[{SMALL[0]}] - {MISSED}"]


def test_missed_threshold_takes_a_few_lines_without_code(missed: Run) -> None:
    lines = section(missed, SMALL[0])
    assert len(lines) < 15
    assert not any("gradshape_bench" in line or "outcome.check()" in line for line in lines)


def test_error_shows_the_users_line_first(raised: Run) -> None:
    lines = section(raised, "raising")
    assert lines[0].startswith(RAISED)
    assert any("raise ValueError" in line for line in lines)
    [line] = short(raised)
    assert line.startswith(f"FAILED test_raising.py::test_raising[two_moons-lr-raising-vanilla] - {RAISED}")
    assert SAID in line


def test_error_takes_a_few_lines_without_the_harness(raised: Run) -> None:
    lines = section(raised, "raising")
    assert len(lines) < 12
    assert not any("gradshape_bench" in line for line in lines)


def test_long_tracebacks_are_there_for_who_asks(project: Project) -> None:
    run = project.run("test_broken.py", "test_raising.py", "--case", SMALL[0], "--tb=long", into="long")
    assert "outcome.check()" in run.output
    assert MISSED in run.output
    run = project.run("test_raising.py", "--tb=long", into="long")
    assert "def deeper(self, count):" in run.output


def test_everything_is_shown_for_who_asks(project: Project) -> None:
    run = project.run("test_broken.py", "-k", "label_flip_0 and vanilla", "-rA", into="all")
    assert MISSED in run.output
    assert short(run)[0].startswith(f"FAILED test_broken.py::test_broken[{SMALL[0]}]")


def test_summary_of_the_run_names_both(project: Project) -> None:
    run = project.run("test_broken.py", "test_raising.py", "-k", f"{SMALL[0]} or raising", into="both", COLUMNS="200")
    assert f"missed: {SMALL[0]}: {MISSED}" in run.output
    assert f"{SAID} (two_moons-lr-raising-vanilla)" in run.output
