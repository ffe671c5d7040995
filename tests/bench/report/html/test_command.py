from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.gate.since import since
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.html import render
from tests.bench.report.html.sample import board, run


def stored(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(f"{record.to_json()}\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return stored(tmp_path / "old.jsonl", board())


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return stored(tmp_path / "new.jsonl", run())


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_page_is_made_beside_the_results_and_its_path_printed(new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["html", str(new)]) == 0
    page = new.with_name("new-leaderboard.html")
    assert text(page) == render(ResultsFile(new).records())
    assert capsys.readouterr().out == f"{page}\n"


def test_two_files_or_an_option_compare(old: Path, new: Path, tmp_path: Path) -> None:
    later = ResultsFile(new).records()
    wanted = render(later, against=since(ResultsFile(old).records(), later))
    for given in ([str(old), str(new)], [str(new), "--against", str(old)]):
        page = tmp_path / f"{len(given)}.html"
        assert main(["html", *given, "--output", str(page)]) == 0
        assert text(page) == wanted


def test_comparing_with_two_files_is_refused(old: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["html", str(old), str(new), "--against", str(old)])
    assert ended.value.code == 2
    assert "--against" in capsys.readouterr().err


def test_nothing_to_compare_with_is_an_error(new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["html", str(new), "--against", str(stored(tmp_path / "empty.jsonl", []))]) == 1
    assert "it holds no record" in capsys.readouterr().err
    assert not new.with_name("new-leaderboard.html").exists()


@pytest.mark.parametrize("which", ["old", "new"])
def test_results_files_are_not_written_over(old: Path, new: Path, which: str, tmp_path: Path) -> None:
    before = text(old), text(new)
    with pytest.raises(SystemExit):
        main(["html", str(new), "--against", str(old), "--output", str(tmp_path / f"{which}.jsonl")])
    assert (text(old), text(new)) == before
