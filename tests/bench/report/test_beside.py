from pathlib import Path

from gradshape_bench.report.beside import LEADERBOARD, pages_beside, write_page, write_pages
from tests.bench.sample import make

COSTS = make(protocol="utility", attack="no_attack")


def test_usual_results_file_has_pages_of_plain_names(tmp_path: Path) -> None:
    names = {path.name for path in pages_beside(tmp_path / "results.jsonl").values()}
    assert names == {"leaderboard.md", "leaderboard.html", "privacy.md", "reproduction.md"}


def test_two_results_files_in_a_folder_share_no_page(tmp_path: Path) -> None:
    pages = [set(pages_beside(tmp_path / name).values()) for name in ("results.jsonl", "a.jsonl", "b.jsonl")]
    assert len(set.union(*pages)) == sum(map(len, pages))


def test_page_links_to_the_page_beside_it(tmp_path: Path) -> None:
    write_page(LEADERBOARD, [make(), COSTS], tmp_path / "gpu.jsonl")
    page = (tmp_path / "gpu-leaderboard.md").read_text(encoding="utf-8")
    assert "](gpu-privacy.md)" in page


def test_pages_without_anything_to_show_are_not_made(tmp_path: Path) -> None:
    paths, _ = write_pages([make()], tmp_path / "results.jsonl")
    assert [path.name for path in paths] == ["leaderboard.md", "leaderboard.html"]


def test_a_page_that_has_nothing_to_show_any_more_is_renewed(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    write_pages([COSTS], results)
    write_pages([make()], results)
    assert COSTS.dataset not in (tmp_path / "privacy.md").read_text(encoding="utf-8")
