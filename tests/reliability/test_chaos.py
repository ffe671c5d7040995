"""Workers that are killed at random moments change no record."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.sessions import Server, Session, descendants, runs, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

FRACTIONS = (0.05, 0.1, 0.2, 0.3)
ATTACKS = f"[Faulty(fraction, way='slow') for fraction in {FRACTIONS}]"


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    session = server.start(tmp_path_factory.mktemp("undisturbed"), ATTACKS)
    assert session.wait() == 0, session.output
    return session.records


def workers(session: Session, what: str) -> list[int]:
    return wait_for(lambda: [pid for pid in descendants(session.pid) if runs(pid, what)] or None)


def test_worker_processes_killed_at_random_change_no_record(
    server: Server, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    moments = random.Random(14)
    session = server.start(tmp_path / "run", ATTACKS, "--engine", "processes")
    session.went("slow")
    # Each of the first ones once: a job that ends two workers is taken to be at fault.
    for pid in workers(session, "spawn_main"):
        time.sleep(moments.uniform(0.0, 0.5))
        if runs(pid, "spawn_main"):
            os.kill(pid, signal.SIGKILL)
    assert session.wait() == 0, session.output
    assert session.records == undisturbed


def test_cases_that_hang_and_crash_cost_themselves_alone(
    server: Server, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    bad = "[Faulty(0.1, way='sleep'), Faulty(0.1, way='segfault')]"
    limited = ("--engine", "processes", "--case-timeout", "60")
    session = server.start(tmp_path / "run", f"{ATTACKS} + {bad}", *limited, processors=1, quick_workers=True)
    assert session.wait() == 1, session.output
    records = session.records
    timeout, crashed = records.pop("sleep_10"), records.pop("segfault_10")
    assert records == undisturbed
    assert (timeout["status"], crashed["status"]) == ("timeout", "crashed")
    limit = "took more than 60 s, the limit of --case-timeout"
    assert timeout["reason"] == f"crafting sleep_10 (seed 0) on two_moons {limit}"
    assert crashed["reason"] == "crafting segfault_10 (seed 0) on two_moons ended its process twice, by SIGSEGV"
    assert "4 passed, 1 crashed, 1 timeout" in session.output
    [page] = [page.read_text(encoding="utf-8") for page in (session.folder / "leaderboard").glob("*two_moons*")]
    assert f"timeout, 1 case: {timeout['reason']}" in page


def test_a_killed_process_of_several_costs_no_more_than_its_case(
    server: Server, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    moments = random.Random(7)
    session = server.start(tmp_path / "run", ATTACKS, "-n", "2", processors=2)
    session.went("slow")
    time.sleep(moments.uniform(0.0, 0.5))
    os.kill(moments.choice(workers(session, "stdin.readline")), moments.choice([signal.SIGKILL, signal.SIGSEGV]))
    status, records = session.wait(), session.records
    lost = {attack for attack, record in records.items() if record["status"] == "crashed"}
    assert records.keys() == undisturbed.keys()
    assert len(lost) <= 1
    assert status == (1 if lost else 0), session.output
    assert {attack: _measured(record) for attack, record in records.items() if attack not in lost} == {
        attack: _measured(record) for attack, record in undisturbed.items() if attack not in lost
    }
    for attack in lost:
        assert "the worker process died while it ran this case" in records[attack]["reason"]
    after = server.start(session.folder, ATTACKS)
    assert after.wait() == 0, after.output
    assert {attack: _measured(record) for attack, record in after.records.items()} == {
        attack: _measured(record) for attack, record in undisturbed.items()
    }


def _measured(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says, but for how many of its jobs another process had done."""
    return {name: value for name, value in record.items() if name != "cached_jobs"}
