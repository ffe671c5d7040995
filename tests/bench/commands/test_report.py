from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make


def test_all_pages_that_show_something_are_written_beside_the_results(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ResultsFile(results).append(make(protocol="utility", attack="no_attack"))
    assert main(["report", str(results)]) == 0
    pages = [results.with_name(name) for name in ("leaderboard.md", "leaderboard.html", "privacy.md")]
    assert capsys.readouterr().out.splitlines() == list(map(str, pages))
    assert all(page.exists() for page in pages)


def test_another_file_in_the_folder_keeps_its_pages(results: Path) -> None:
    assert main(["report", str(results)]) == 0
    before = results.with_name("leaderboard.md").read_bytes()
    other = results.with_name("gpu.jsonl")
    ResultsFile(other).append(make(dataset="elsewhere"))
    assert main(["report", str(other)]) == 0
    assert results.with_name("leaderboard.md").read_bytes() == before
    assert "elsewhere" in results.with_name("gpu-leaderboard.md").read_text(encoding="utf-8")
