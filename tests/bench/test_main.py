import subprocess
import sys
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.commands.catalogue import ENTRIES, Entry
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report import tradeoff
from gradshape_bench.report.leaderboard import render
from tests.bench.sample import make, odd


def pages_in(overview: Path) -> dict[str, str]:
    """The overview and the pages in its folder."""
    files = [overview, *overview.with_suffix("").iterdir()]
    return {file.relative_to(overview.parent).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultsFile(tmp_path / "results.jsonl")
    for record in odd():
        store.append(record)
    return store.path


def test_page_is_made_beside_the_results_and_its_path_printed(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(results)]) == 0
    page = results.with_name("leaderboard.md")
    assert pages_in(page) == render(odd())
    assert capsys.readouterr().out == f"{page}\n"


def test_privacy_page_is_made_beside_the_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ResultsFile(results).append(make(protocol="utility", attack="no_attack"))
    assert main(["privacy", str(results)]) == 0
    page = results.with_name("privacy.md")
    assert page.read_text(encoding="utf-8") == tradeoff.render(ResultsFile(results).records())
    assert capsys.readouterr().out == f"{page}\n"


def test_output_goes_where_it_is_asked_to(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.md"
    assert main(["leaderboard", str(results), "--output", str(page)]) == 0
    assert pages_in(page) == render(odd(), stem="page")


@pytest.mark.parametrize("name", ["page", "page.txt"])
def test_the_overview_has_to_end_in_md(
    name: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(results), "--output", str(tmp_path / name)]) == 1
    assert f"error: {tmp_path / name}: expected a name that ends in .md" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_default_is_the_results_file_of_pytest(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ResultsFile(Path("results/results.jsonl")).append(make())
    assert main(["leaderboard"]) == 0
    assert capsys.readouterr().out.strip() == str(Path("results/leaderboard.md"))


def test_empty_results_file_gives_a_page(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.touch()
    assert main(["leaderboard", str(results)]) == 0
    assert "pytest suites/" in results.with_name("leaderboard.md").read_text(encoding="utf-8")


def test_missing_results_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", str(tmp_path / "none.jsonl")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'none.jsonl'}: no such results file: run cases first (`pytest`)")
    assert error.count("\n") == 1


def test_folder_instead_of_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("kind", ["itself", "hard link", "open cases"])
def test_results_are_never_overwritten_by_the_page(
    kind: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pending = Pending(results)
    pending.add([("smoke", "open")])
    output = {"itself": results, "hard link": results.with_name("link"), "open cases": pending.path}[kind]
    if kind == "hard link":
        output.hardlink_to(results)
    before = output.read_bytes()
    with pytest.raises(SystemExit) as caught:
        main(["leaderboard", str(results), "--output", str(output)])
    assert caught.value.code == 2
    assert output.read_bytes() == before
    said = "its list of open cases" if kind == "open cases" else "the results file itself"
    assert f"this is {said}: name another" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["leaderbord"], ["leaderboard", "--outptu", "x"]])
def test_bad_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: gradshape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["leaderbord"], "did you mean 'leaderboard'"),
        (["leaderboard", "--outptu", "x"], "did you mean --output?"),
        (["list", "--scale", "papr"], "did you mean 'paper'?"),
        (["list", "--status", "crash"], "did you mean 'crashed'?"),
        (["list", "--verdict", "pas"], "did you mean 'pass'?"),
        (["report", "a.jsonl", "b.jsonl"], "one argument too many: 'b.jsonl'"),
    ],
)
def test_errors_name_what_may_have_been_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert meant in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {entry.name} " in shown and entry.purpose in shown for entry in ENTRIES)
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_command_describes_itself_and_its_arguments(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([entry.name, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: gradshape {entry.name}")
    assert " ".join(entry.load().description.split())[:60] in " ".join(shown.split())


def test_a_pipe_that_is_closed_is_no_error(results: Path) -> None:
    command = f"{sys.executable} -m gradshape_bench list {results} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_runs_as_a_module(results: Path) -> None:
    command = [sys.executable, "-m", "gradshape_bench", "leaderboard", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{results.with_name('leaderboard.md')}\n")
