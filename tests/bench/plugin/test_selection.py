"""Selecting cases by their exact ids."""

import re
import shlex

import pytest

from tests.bench.plugin.project import SMALL, Project, Run

ALIKE = [f"two_moons-lr-{name}-vanilla" for name in ("a", "a.b", "a[0]", "a[0].b", "a-vanilla", "it's")]


def selected(run: Run) -> list[str]:
    return [line.partition("[")[2][:-1] for line in run.output.splitlines() if "::" in line]


@pytest.mark.parametrize("case", ALIKE)
def test_exactly_the_case_of_that_id_is_selected(case: str, project: Project) -> None:
    run = project.run("test_alike.py", "--case", case, "--collect-only", "-q", into="none")
    assert selected(run) == [case]


def test_several_cases_may_be_selected(project: Project) -> None:
    run = project.run(".", "--case", SMALL[0], "--case", ALIKE[2], "--collect-only", "-q", into="none")
    # Several files of this project have the first one.
    assert set(selected(run)) == {SMALL[0], ALIKE[2]}


def test_unknown_case_is_an_error_with_near_matches(project: Project) -> None:
    run = project.run("test_small.py", "--case", f"{SMALL[1]}1", into="none")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert (
        f"--case: no case '{SMALL[1]}1' at smoke scale in the collected tests: did you mean '{SMALL[1]}'" in run.output
    )


def test_unknown_case_is_an_error_of_worker_processes_too(project: Project) -> None:
    run = project.run("test_small.py", "--case", f"{SMALL[1]}1", "-n", "2", into="none")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert f"did you mean '{SMALL[1]}'" in run.output


def test_printed_command_runs_exactly_the_case_that_failed(project: Project) -> None:
    run = project.run("test_broken.py", "--case", SMALL[2], into="printed")
    (line,) = re.findall(r"^re-run: pytest (.*)$", run.output, re.MULTILINE)
    again = project.run(*shlex.split(line), into="printed_again")
    assert [record["case"] for record in again.lines] == [SMALL[2]]
    assert again.lines[0]["metrics"] == run.lines[0]["metrics"]


def test_printed_command_is_right_where_pytest_was_started(project: Project) -> None:
    folder = project.folder / "below"
    folder.mkdir()
    places = ["--results", str(folder / "results.jsonl"), "--cache-dir", str(folder)]
    _, shown = project.pytest("../test_broken.py", "--case", SMALL[0], *places, folder=folder)
    (line,) = re.findall(r"^re-run: pytest (.*)$", shown, re.MULTILINE)
    assert shlex.split(line)[0] == "../test_broken.py"
    status, shown = project.pytest(*shlex.split(line), *places, folder=folder)
    assert (status, "1 failed" in shown) == (1, True)


def test_records_say_in_which_file_their_test_is(serial: Run, parallel: Run) -> None:
    assert {record["test"] for record in serial.lines} == {"test_small.py"}
    # A case whose process died, too.
    assert {record["test"] for record in parallel.lines} == {"test_small.py", "test_fatal.py"}


@pytest.mark.parametrize("how", [(), ("-n", "2")], ids=["serial", "parallel"])
def test_a_mark_expression_with_an_unknown_label_is_an_error(project: Project, how: tuple[str, ...]) -> None:
    run = project.run("test_small.py", "-m", "case(data='two_moons')", *how, into="marks")
    assert run.status == 4
    assert "-m: unknown label of cases 'data': did you mean 'dataset' or 'attack'?" in run.output


def test_a_value_that_no_case_has_is_said(project: Project) -> None:
    run = project.run("test_small.py", "-m", "case(dataset='two_mons')", into="marks")
    assert run.status == 5
    assert "gradshape: no collected case has dataset='two_mons': did you mean 'two_moons'?" in run.output
