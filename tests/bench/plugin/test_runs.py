"""What a run leaves and shows, alone and side by side, and what is selected."""

from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.records.pending import Pending
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report import html
from tests.bench.plugin.project import FATAL, SMALL, Project, Run

# What two runs that measure the same do not have in common.
CHANGING = ("seconds", "costs", "cached_jobs")


def test_passing_suite_exits_with_0(serial: Run) -> None:
    assert serial.status == 0, serial.output


def test_every_case_leaves_one_record(serial: Run) -> None:
    assert sorted(line["case"] for line in serial.lines) == sorted(SMALL)


def test_records_are_measured(serial: Run) -> None:
    assert all(line["status"] == "ok" and "rad" in line["metrics"] for line in serial.lines)


def test_modes_of_a_fixture_change_no_number(project: Project, serial: Run) -> None:
    run = project.run("test_modes.py", into="modes")
    assert run.status == 0, run.output
    assert {case: run.records[case]["metrics"] for case in SMALL} == {
        case: serial.records[case]["metrics"] for case in SMALL
    }


def test_leaderboard_shows_every_case(serial: Run) -> None:
    board = serial.results.with_name("leaderboard")
    pages = "".join(page.read_text(encoding="utf-8") for page in board.iterdir())
    assert all(record["attack"] in pages and record["defense"] in pages for record in serial.lines)


def test_page_to_browse_is_made_of_the_records_alone(serial: Run) -> None:
    page = serial.results.with_name("leaderboard.html").read_text(encoding="utf-8")
    assert page == html.render(ResultsFile(serial.results).records())


def test_terminal_shows_where_the_reports_are(serial: Run) -> None:
    assert f"leaderboard: {serial.results.with_name('leaderboard.md')}" in serial.output
    assert f"leaderboard to browse: {serial.results.with_name('leaderboard.html')}" in serial.output


def test_cases_without_an_attack_have_a_page_of_their_own(project: Project, serial: Run) -> None:
    run = project.run("test_cost.py", into="cost")
    page = run.results.with_name("privacy.md")
    assert "two_moons, lr, utility" in page.read_text(encoding="utf-8")
    assert f"utility against privacy: {page}" in run.output
    assert not serial.results.with_name("privacy.md").exists()


def test_terminal_counts_the_cases(serial: Run) -> None:
    assert "4 cases: 4 passed" in serial.output


def test_second_run_takes_everything_from_the_cache(again: tuple[dict[str, dict[str, Any]], Run]) -> None:
    # A job that was done again would have taken another time.
    before, second = again
    assert {record["cached_jobs"] for record in before.values()} != {record["jobs"] for record in before.values()}
    assert all(record["cached_jobs"] == record["jobs"] for record in second.records.values())
    assert second.records == {case: record | {"cached_jobs": record["jobs"]} for case, record in before.items()}


def test_second_run_leaves_one_line_a_case(again: tuple[dict[str, dict[str, Any]], Run]) -> None:
    assert len(again[1].lines) == len(SMALL)


def test_two_processes_measure_the_same(serial: Run, parallel: Run) -> None:
    def timeless(run: Run) -> dict[str, dict[str, Any]]:
        return {case: {k: v for k, v in run.records[case].items() if k not in CHANGING} for case in SMALL}

    assert timeless(parallel) == timeless(serial)


def test_two_processes_leave_one_line_a_case(parallel: Run) -> None:
    assert sorted(line["case"] for line in parallel.lines) == sorted([*SMALL, *FATAL])


def test_id_in_brackets_selects_one_case(project: Project) -> None:
    run = project.run("test_small.py", "--collect-only", "-q", "-k", f"[{SMALL[2]}]", into="none")
    assert [line for line in run.output.splitlines() if "::" in line] == [f"test_small.py::test_small[{SMALL[2]}]"]


def test_marker_selects_by_label(project: Project) -> None:
    run = project.run("test_small.py", "--collect-only", "-q", "-m", "case(attack='label_flip_10')", into="none")
    nodes = [line for line in run.output.splitlines() if "::" in line]
    assert nodes == [f"test_small.py::test_small[{case}]" for case in SMALL[2:]]


def test_collecting_leaves_results_and_cache_alone(project: Project, serial: Run) -> None:
    def left() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in serial.results.parent.rglob("*") if path.is_file()}

    before = left()
    project.run("test_small.py", "test_fatal.py", "--collect-only", "-q", into="serial")
    assert left() == before


def test_a_complete_run_leaves_nothing_open(serial: Run) -> None:
    assert Pending(serial.results).keys() == set()


def test_two_processes_leave_nothing_open(parallel: Run) -> None:
    assert Pending(parallel.results).keys() == set()


def test_two_cases_of_one_id_are_an_error_before_anything_runs(project: Project) -> None:
    run = project.run("test_ambiguous.py", into="ambiguous")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert f"two different cases are called '{SMALL[0]}'" in run.output
    assert not run.results.exists()


def test_bad_option_is_an_error_before_anything_runs(project: Project) -> None:
    run = project.run("test_small.py", "--scale", "papr", into="option")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "--scale: unknown scale 'papr': did you mean 'paper'?" in run.output
