import shlex
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("suites/test_a.py", "deep/suites/test_b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("@benchmark_cases()\ndef test_x(outcome): ...\n")
    (tmp_path / "suites" / "test_other.py").write_text("def test_y(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(record: Record, *arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    path = Path("results.jsonl")
    ResultsFile(path).append(record)
    assert main(["rerun", record.case, str(path), "--print", *arguments]) == 0
    return shlex.split(capsys.readouterr().out)


def long_options(record: Record) -> list[str]:
    seeds = ["--gradshape-seeds", str(len(record.seeds))]
    return ["--gradshape-case", record.case, "--gradshape-scale", record.scale, *seeds]


@pytest.mark.parametrize("case", ["a[0]-b", "a.b", "it's", "a b"])
def test_test_file_and_exact_id_are_selected(case: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make(case=case, test="suites/test_a.py")
    assert printed(record, capsys=capsys) == ["pytest", "suites/test_a.py", *long_options(record)]


def test_test_file_is_found_from_a_folder_below_the_root(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project / "deep")
    assert printed(make(test="suites/test_a.py"), capsys=capsys)[1] == "../suites/test_a.py"


def test_records_without_a_test_select_among_all_files_that_declare_cases(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make()
    assert printed(record, capsys=capsys) == [
        *("pytest", "deep/suites/test_b.py", "suites/test_a.py"),
        *long_options(record),
    ]


def test_files_that_are_given_take_the_place_of_the_recorded_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make(test="suites/test_a.py")
    given = printed(record, "--", "deep/suites/test_b.py", "-x", capsys=capsys)
    assert given == ["pytest", *long_options(record), "deep/suites/test_b.py", "-x"]


def test_options_that_are_given_are_added(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make(test="suites/test_a.py")
    assert printed(record, "--", "--no-cache", capsys=capsys)[-1] == "--no-cache"


def test_a_test_file_that_is_gone_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ResultsFile(Path("results.jsonl")).append(make(test="suites/test_gone.py"))
    assert main(["rerun", make().case, "results.jsonl", "--print"]) == 1
    assert "error: suites/test_gone.py: no such file here or in a folder above" in capsys.readouterr().err


def test_a_case_of_two_scales_asks_which(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scale in ("smoke", "paper"):
        ResultsFile(Path("results.jsonl")).append(make(scale=scale, test="suites/test_a.py"))
    assert main(["rerun", make().case, "results.jsonl", "--print"]) == 1
    assert "add --scale paper or --scale smoke" in capsys.readouterr().err


def test_seeds_that_pytest_cannot_count_are_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ResultsFile(Path("results.jsonl")).append(make(seeds=(0, 2), test="suites/test_a.py"))
    assert main(["rerun", make().case, "results.jsonl", "--print"]) == 0
    assert "2 seeds from 0 on, not those of the record: 0, 2" in capsys.readouterr().err
