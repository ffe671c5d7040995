"""No file that a run writes takes the place of another one: a run that would do so is refused before it begins."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape_bench.places import check_places
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make, settings_in

PAGES = ("leaderboard.md", "privacy.md", "reproduction.md")


def check(results: Path, *, cache: Path | None = None, others: tuple[tuple[str, Path], ...] = ()) -> None:
    settings = replace(settings_in(results.parent), results=results)
    check_places(replace(settings, use_cache=cache is not None, cache_dir=cache or settings.cache_dir), others)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["itself", "detour", "link", "hard link"])
def test_the_results_file_is_no_page(page: str, kind: str, tmp_path: Path) -> None:
    named = tmp_path / page
    if kind == "detour":
        (tmp_path / "folder").mkdir()
        named = tmp_path / "folder" / ".." / page
    elif kind != "itself":
        named = tmp_path / "results.jsonl"
        ResultsFile(named).append(make())
        (os.symlink if kind == "link" else os.link)(named, tmp_path / page)
    problem = r"the results file and the page .* would both be" if "link" in kind else "pages .* are called so"
    with pytest.raises(pytest.UsageError, match=f"^--results: .*{problem}"):
        check(named)


@pytest.mark.parametrize("name", ["speed.json", "speed-h200.json", "speed.md"])
def test_the_results_file_is_none_of_the_speed_suite(name: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="the speed suite's: name another file"):
        check(tmp_path / name)


def test_the_results_file_is_not_where_the_pages_of_the_board_go(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="are called so: name another file"):
        check(tmp_path / "leaderboard")


def test_a_results_file_that_a_run_refuses_stays_as_it_was(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "leaderboard.md")
    file.append(make())
    before = file.path.read_bytes()
    with pytest.raises(pytest.UsageError, match="are called so"):
        check(file.path)
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("name", ["r.pending.json", "r.running", "r.jsonl.lock", "r-leaderboard.md", "r.jsonl"])
def test_files_of_other_options_are_none_of_the_run(name: str, tmp_path: Path) -> None:
    others = (("--junit-xml", tmp_path / name),)
    with pytest.raises(pytest.UsageError, match=r"and the file of --junit-xml would both be .*: name another file"):
        check(tmp_path / "r.jsonl", others=others)


@pytest.mark.parametrize(
    ("results", "cache"),
    [("cache/jobs/r.jsonl", "cache"), ("jobs/deep/r.jsonl", "."), ("jobs", "."), ("r.jsonl", "r.running")],
)
def test_the_cache_is_apart_from_the_rest(results: str, cache: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="would both be"):
        check(tmp_path / results, cache=tmp_path / cache)


@pytest.mark.parametrize("results", ["results.jsonl", "leaderboard.jsonl", "md", "privacy.md.jsonl", "jobs.jsonl"])
@pytest.mark.parametrize("cache", [".", "cache", "leaderboard"])
def test_places_that_are_apart_are_fine(results: str, cache: str, tmp_path: Path) -> None:
    check(tmp_path / results, cache=tmp_path / cache, others=(("--junit-xml", tmp_path / "junit.xml"),))
