"""Four runs at once on one cache and one results file record what a run alone does."""

import json
from pathlib import Path
from typing import Any

from gradshape_bench.records.pending import Pending
from tests.reliability.sessions import Server

RUNS = 4
ATTACKS = "[LabelFlip(fraction) for fraction in (0.1, 0.2, 0.3)]"
# What two equal runs may differ in: how long they took, and what they found done.
_OWN = ("seconds", "costs", "cached_jobs")


def plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in _OWN}


def test_four_runs_on_one_cache_and_one_results_file_record_what_one_alone_does(server: Server, tmp_path: Path) -> None:
    alone = server.start(tmp_path / "alone", ATTACKS)
    assert alone.wait() == 0, alone.output
    results = tmp_path / "shared" / "results.jsonl"
    shared = ("--results", f"{results}", "--cache-dir", f"{tmp_path}/shared/cache")
    runs = [server.start(tmp_path / f"run{number}", ATTACKS, *shared) for number in range(RUNS)]
    for run in runs:
        assert run.wait() == 0, run.output
        assert "gradshape: " not in run.output
        assert "cache: " not in run.output
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert {record["attack"]: plain(record) for record in found} == {
        attack: plain(record) for attack, record in alone.records.items()
    }
    assert len(found) == len(alone.records)
    assert Pending(results).keys() == set()
    pages = "".join(page.read_text(encoding="utf-8") for page in (results.parent / "leaderboard").iterdir())
    assert all(record["attack"] in pages for record in found)
    assert not [path for path in results.parent.rglob("*.tmp") if path.is_file()]
    assert not (results.parent / "results.running").exists()
