import io
import os
import time
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.commands import clean
from gradshape_bench.commands.command import Refused
from gradshape_bench.commands.declared_cases import declared_cases
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Status
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make, odd, unmeasured

GOOD, GONE = make(), make(attack="label_flip_99")
FAILED = unmeasured(Status.CRASHED, "out of memory", attack="label_flip_40")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results file with a good record, one of a case that is gone, and a failed trial, in a project."""
    monkeypatch.chdir(tmp_path)
    Path("test_a.py").write_text("@benchmark_cases()\n")
    store = ResultsFile(Path("results", "results.jsonl"))
    for record in (GOOD, GONE, FAILED):
        store.append(record)
    Pending(store.path).add([])
    monkeypatch.setattr(clean, "declared_cases", lambda tests: {GOOD.key, FAILED.key})
    return store.path


def left(path: Path) -> set[tuple[str, str]]:
    return {record.key for record in ResultsFile(path).records()}


def test_what_is_gone_and_what_failed_is_taken_off(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "--yes"]) == 0
    assert left(board) == {GOOD.key}
    shown = capsys.readouterr().out
    assert f"smoke {GONE.case} (no test declares it)" in shown
    assert f"smoke {FAILED.case} (crashed)" in shown


@pytest.mark.parametrize(
    ("arguments", "removed"),
    [
        (["--gone"], {GONE.key}),
        (["--failed"], {FAILED.key}),
        (["--match", "*-label_flip_10-*"], {GOOD.key}),
        (["--match", "label_flip_10"], set()),
        (["--cache"], set()),
    ],
)
def test_only_what_is_asked_for_is_removed(arguments: list[str], removed: set[object], board: Path) -> None:
    assert main(["clean", *arguments, "--yes"]) == 0
    assert left(board) == {GOOD.key, GONE.key, FAILED.key} - removed


def test_a_dry_run_shows_it_and_removes_nothing(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = board.read_bytes()
    assert main(["clean", "--dry-run"]) == 0
    assert GONE.case in capsys.readouterr().out
    assert board.read_bytes() == before


@pytest.mark.parametrize(("answer", "status", "removed"), [("yes\n", 0, True), ("no\n", 1, False), ("", 1, False)])
def test_it_asks_before_it_removes(
    answer: str, status: int, removed: bool, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["clean", "--gone"]) == status
    assert (GONE.key not in left(board)) is removed


def test_pages_are_renewed(board: Path) -> None:
    assert main(["report"]) == 0
    assert main(["clean", "--yes"]) == 0
    pages = [*board.parent.glob("leaderboard*"), *board.with_name("leaderboard").iterdir()]
    text = "".join(page.read_text(encoding="utf-8") for page in pages if page.is_file()).replace("\\", "")
    assert GOOD.attack in text
    assert GONE.attack not in text


def test_a_failed_trial_that_is_taken_off_is_open_until_it_is_run_again(board: Path) -> None:
    assert main(["clean", "--yes"]) == 0
    assert Pending(board).keys() == {FAILED.key}


def test_open_cases_that_are_gone_are_closed(board: Path) -> None:
    Pending(board).add([("smoke", "gone long ago"), GOOD.key])
    assert main(["clean", "--gone", "--yes"]) == 0
    assert Pending(board).keys() == {GOOD.key}


def test_lines_that_are_no_records_stay(board: Path) -> None:
    with board.open("a") as file:
        file.write("not a record\n")
    assert main(["clean", "--yes"]) == 0
    assert "not a record\n" in board.read_text()


def test_damaged_jobs_and_old_temporary_files_are_removed(board: Path) -> None:
    jobs = Path(".gradshape", "jobs")
    damaged, temporary = jobs / "00" / f"{'0' * 64}.job", jobs / "tmp" / "a.tmp"
    for path in (damaged, temporary):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    os.utime(temporary, (time.time() - 7200, time.time() - 7200))
    assert main(["clean", "--cache", "--yes"]) == 0
    assert not damaged.exists()
    assert not temporary.exists()


def test_nothing_to_remove_is_said(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "--cache"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_no_declared_case_at_all_is_no_reason_to_remove_everything(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clean, "declared_cases", lambda tests: set())
    assert main(["clean", "--gone", "--yes"]) == 1
    assert "so that every record would go" in capsys.readouterr().err
    assert len(left(board)) == 3


SUITE = """
from gradshape.attacks import LabelFlip
from gradshape.defenses import NoDefense
from gradshape.training import Adam, Recipe
from gradshape_bench import Matrix, Scale, Task, benchmark_cases

MOONS = Task("two_moons", Recipe("lr", Adam(0.05), batch_size=64, epochs=2))

@benchmark_cases(Matrix([MOONS], [LabelFlip(0.1)], [NoDefense()], thresholds=[], scales=[Scale.PAPER]))
def test_large(outcome):
    outcome.check()

@benchmark_cases(Matrix([MOONS], [LabelFlip(0.2)], [NoDefense()], thresholds=[]))
def test_both(outcome):
    outcome.check()
"""


def test_pytest_says_which_cases_a_project_declares_at_both_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_own.py").write_text(SUITE)
    # Warnings are errors in some projects, and some deselect cases that they declare.
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = -k large\n")
    monkeypatch.chdir(tmp_path)
    assert declared_cases(["test_own.py"]) == {
        ("paper", "two_moons-lr-label_flip_10-vanilla"),
        ("paper", "two_moons-lr-label_flip_20-vanilla"),
        ("smoke", "two_moons-lr-label_flip_20-vanilla"),
    }


def test_a_file_that_cannot_be_collected_says_nothing_of_what_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_own.py").write_text(f"{SUITE}\nraise RuntimeError('half of it is missing')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="half of it is missing"):
        declared_cases(["test_own.py"])


def test_records_of_any_kind_can_be_taken_off(results: Path) -> None:
    assert main(["clean", str(results), "--match", "*", "--yes"]) == 0
    assert len(odd()) > 0
    assert left(results) == set()
