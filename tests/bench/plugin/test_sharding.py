"""``--shard``: the selected cases, divided among several runs."""

import pytest

from gradshape_bench.records.pending import Pending, Sharded
from tests.bench.plugin.project import SMALL, Project


@pytest.mark.parametrize("processes", [0, 2])
def test_shards_have_each_selected_case_once(processes: int, project: Project) -> None:
    runs = [
        project.run("test_small.py", "--shard", f"{index}/2", "-n", f"{processes}", into=f"shard_{processes}_{index}")
        for index in (1, 2)
    ]
    assert [run.status for run in runs] == [0, 0]
    assert sorted([record["case"] for run in runs for record in run.lines]) == sorted(SMALL)
    assert [len(run.lines) for run in runs] == [2, 2]
    for number, run in enumerate(runs, start=1):
        assert f"gradshape: shard {number}/2: 2 of 4 selected cases" in run.output
        assert Sharded(run.results).keys() == {("smoke", case) for case in SMALL}
        assert Pending(run.results).keys() == set()


@pytest.mark.parametrize("processes", [0, 2])
def test_a_shard_without_cases_succeeds_and_says_so(processes: int, project: Project) -> None:
    run = project.run("test_small.py", "--shard", "1/9", "-n", f"{processes}", into=f"empty_{processes}")
    assert run.status == pytest.ExitCode.OK
    assert "gradshape: shard 1/9 is empty: the other shards have all of 4 tests" in run.output
    assert not run.results.exists()
    assert Sharded(run.results).keys() == {("smoke", case) for case in SMALL}


def test_a_selection_without_cases_is_still_an_error(project: Project) -> None:
    run = project.run("test_small.py", "-k", "nothing", "--shard", "1/2", into="none")
    assert run.status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "is empty" not in run.output


def test_shards_divide_what_other_options_select(project: Project) -> None:
    runs = [
        project.run("test_small.py", "-k", "vanilla", "--gradshape-shard", f"{index}/2", into=f"some_{index}")
        for index in (1, 2)
    ]
    assert sorted(record["case"] for run in runs for record in run.lines) == [
        case for case in sorted(SMALL) if case.endswith("vanilla")
    ]


def test_tests_that_are_no_cases_are_divided_too(project: Project) -> None:
    shown = [
        project.run("test_alike.py", "--shard", f"{index}/3", "--collect-only", "-q", into="none")
        for index in (1, 2, 3)
    ]
    assert [run.output.count("test_alike.py::test_beside") for run in shown].count(1) == 1
    assert [run.output.count("test_alike.py::test_alike[") for run in shown] == [2, 2, 2]


def test_no_part_is_an_error_of_usage(project: Project) -> None:
    run = project.run("test_small.py", "--shard", "3/2", into="none")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "--shard: '3/2': expected 1 <= I <= N <= 100,000: the parts are 1/2 to 2/2" in run.output


def test_a_shard_is_compared_with_its_part_of_a_baseline(project: Project) -> None:
    whole = project.run("test_small.py", into="whole")
    for index in (1, 2, 9):
        run = project.run(
            "test_small.py",
            "--shard",
            f"{min(index, 3)}/{max(index, 2)}",
            "--baseline",
            str(whole.results),
            into=f"b_{index}",
        )
        assert run.status == 0, run.output
