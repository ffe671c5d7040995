"""What is left of a run whose process dies."""

import json

from gradshape_bench.records.pending import Pending
from tests.bench.plugin.project import FATAL, SMALL, Killed, Run


def test_a_killed_run_stays_open_until_it_is_run_again(killed: Killed) -> None:
    assert killed.open == {("smoke", case) for case in FATAL}
    assert Pending(killed.run.results).keys() == set()


def test_case_that_kills_its_process_is_recorded_as_crashed(parallel: Run) -> None:
    record = parallel.records[FATAL[1]]
    assert record["status"] == "crashed"
    assert "worker process died" in record["reason"]


def test_crash_costs_no_other_case(parallel: Run) -> None:
    assert {case for case, record in parallel.records.items() if record["status"] == "ok"} == {*SMALL, *FATAL} - {
        FATAL[1]
    }


def test_crash_exits_with_1(parallel: Run) -> None:
    assert parallel.status == 1


def test_killed_run_leaves_whole_lines(killed: Killed) -> None:
    assert killed.status == -9
    assert all(line.endswith("\n") for line in killed.left)
    assert [json.loads(line)["case"] for line in killed.left] == FATAL[:1]


def test_run_after_a_kill_leaves_one_record_a_case(killed: Killed) -> None:
    assert killed.run.status == 0
    assert [line["case"] for line in killed.run.lines] == FATAL


def test_run_after_a_kill_continues(killed: Killed) -> None:
    # Its seconds, too: a job that was done again would have taken another time.
    first = json.loads(killed.left[0])
    assert killed.run.lines[0] == first | {"cached_jobs": first["jobs"]}
