"""What goes wrong in the cache is one line at the end of a run, and fails no case."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.cache import Cache, Claim
from tests.bench.plugin.project import SMALL, Project, Run


def _lines(run: Run) -> list[str]:
    return [line for line in run.output.splitlines() if line.startswith("cache: ")]


def _metrics(records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: record["metrics"] for name, record in records.items() if name in SMALL}


@pytest.fixture
def claims() -> Iterator[list[Claim]]:
    """What another run, which does not go on, has claimed."""
    claims: list[Claim] = []
    yield claims
    for claim in claims:
        claim.release()


@pytest.fixture
def copied(project: Project, serial: Run, request: pytest.FixtureRequest) -> str:
    """The name of a folder with the finished jobs of a run."""
    name = request.node.name
    shutil.copytree(serial.results.parent / "jobs", project.folder / name / "jobs")
    return str(name)


def _damage(folder: Path) -> int:
    """Damage all entries; how many there are."""
    entries = list(folder.rglob("*.job"))
    for path in entries:
        path.write_bytes(b"damaged")
    return len(entries)


def _hold(folder: Path) -> list[Claim]:
    """Claim all jobs."""
    claims = [Cache(folder).claim(path.stem) for path in (folder / "locks").iterdir()]
    return [claim for claim in claims if claim is not None]


WAITING = re.compile(r"^gradshape: waiting for jobs that process \d+ on .* does \(its lock: .*\)$", re.M)


def test_undisturbed_runs_say_nothing_of_their_cache(again: tuple[object, Run], parallel: Run) -> None:
    assert _lines(again[1]) + _lines(parallel) == []


def test_damaged_entries_are_counted_in_one_line_below_the_summary(project: Project, serial: Run, copied: str) -> None:
    entries = _damage(project.folder / copied)
    run = project.run("test_small.py", into=copied)
    assert run.status == 0
    assert _metrics(run.records) == _metrics(serial.records)
    (line,) = _lines(run)
    assert line.startswith(f"cache: {entries} damaged entries were computed again (first: ")
    assert "it is no entry of this layout" in line
    assert run.output.index("leaderboard: ") < run.output.index(line)


def test_worker_processes_say_what_went_wrong_in_theirs(
    project: Project, serial: Run, copied: str, claims: list[Claim]
) -> None:
    entries = _damage(project.folder / copied)
    claims += _hold(project.folder / copied / "jobs")
    run = project.run("test_small.py", "-n", "2", into=copied, IMPATIENT="1")
    assert run.status == 0
    assert _metrics(run.records) == _metrics(serial.records)
    (line,) = _lines(run)
    assert line.startswith(f"cache: {entries} damaged entries were computed again (first: ")
    assert "its process gives no sign of life" in line
    assert WAITING.search(run.output)


def test_waiting_for_another_run_is_said_while_it_lasts(project: Project, copied: str, claims: list[Claim]) -> None:
    _damage(project.folder / copied)
    claims += _hold(project.folder / copied / "jobs")
    run = project.run("test_small.py", into=copied, IMPATIENT="1")
    assert run.status == 0
    assert len(WAITING.findall(run.output)) == 1
    assert run.output.index("gradshape: waiting") < run.output.index("leaderboard: ")


def test_a_cache_that_is_no_folder_fails_no_case_even_if_warnings_do(project: Project, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("")
    places = ["--results", str(tmp_path / "r.jsonl"), "--cache-dir", str(tmp_path)]
    # The process has imported what pytest would rewrite, and pytest 8 does not know all that the settings say.
    ignored = [f"ignore::pytest.{name}" for name in ("PytestAssertRewriteWarning", "PytestConfigWarning")]
    strict = [part for rule in ("error", *ignored) for part in ("-W", rule)]
    status, output = project.pytest("test_small.py", "--seeds", "1", "-k", SMALL[0], *places, *strict)
    assert status == 0, output
    assert re.search(
        r"^cache: \d finished jobs could not be kept \(first: .*: Not a directory\); \d locks", output, re.M
    )
