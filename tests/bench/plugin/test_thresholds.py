"""What a missed threshold shows, and what is expected to be missed."""

from gradshape_bench.records.pending import Pending
from tests.bench.plugin.project import SMALL, Project, Run


def test_what_x_leaves_out_stays_open(broken: Run) -> None:
    assert Pending(broken.results).keys() == {("smoke", case) for case in SMALL[1:]}


def test_missed_threshold_exits_with_1(broken: Run) -> None:
    assert broken.status == 1


def test_missed_threshold_shows_value_and_interval_and_bound(broken: Run) -> None:
    assert "rad < -1: measured 0.0000 [0.0000, 0.0000] (n=2): FAIL" in broken.output


def test_missed_threshold_shows_the_case_and_how_to_run_it_again(broken: Run) -> None:
    assert f"case: {SMALL[0]} (scale smoke, 2 seeds)" in broken.output
    assert f"re-run: pytest test_broken.py --case {SMALL[0]} --scale smoke --seeds 2\n" in broken.output


def test_x_stops_at_the_first_miss(broken: Run) -> None:
    assert [line["case"] for line in broken.lines] == [SMALL[0]]


def test_x_does_not_train_the_rest_first(broken: Run) -> None:
    # Two seeds on clean data, and two empty poison sets.
    assert len(list(broken.results.parent.rglob("*.job"))) == 4


def test_lf_selects_what_failed(project: Project) -> None:
    # What failed last is remembered in a place of its own: other runs of the project fail, too.
    remember = "-o", "cache_dir=what_failed_last"
    project.run("test_broken.py", "-x", *remember, into="failed_last")
    run = project.run("test_broken.py", "--lf", "--collect-only", "-q", *remember, into="none")
    nodes = [line for line in run.output.splitlines() if "::" in line]
    assert nodes == [f"test_broken.py::test_broken[{SMALL[0]}]"]


def test_expected_failure_is_xfailed(expected: Run) -> None:
    assert expected.counted("1 xfailed")


def test_unexpected_pass_is_xpassed_and_fails_nothing(expected: Run) -> None:
    assert expected.counted("1 xpassed")
    assert expected.status == 0


def test_unexpected_pass_shows_in_the_summary(expected: Run) -> None:
    assert "2 cases: 1 expected failure, 1 unexpected pass" in expected.output
