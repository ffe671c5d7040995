import shlex
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make, odd

ID = "digits-lr-label_flip_10-dp_adam_c2"


def test_case_is_shown_with_the_command_that_runs_it_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", ID, str(results)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{ID} (smoke scale)\n")
    assert shown.splitlines()[-1] == f"  gradshape rerun {ID} {results}"


@pytest.mark.parametrize("case", sorted({record.case for record in odd()}))
def test_printed_command_names_the_case_whatever_its_id_holds(
    case: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", case, str(results), "--scale", "smoke"]) == 0
    _, *arguments = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert arguments[:2] == ["rerun", case]


def test_a_case_of_both_scales_is_shown_twice(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", make().case, str(results)]) == 0
    shown = capsys.readouterr().out
    assert "(smoke scale)" in shown
    assert "(paper scale)" in shown
    assert "--scale paper" in shown


def test_json_is_the_record(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", ID, str(results), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert Record.from_json(line) in ResultsFile(results).records()


def test_unknown_case_lists_near_matches(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "digits-lr-label_flip_10-dp_adam_c22", str(results)]) == 1
    assert capsys.readouterr().err.startswith(
        f"error: no case 'digits-lr-label_flip_10-dp_adam_c22' in {results}: did you mean '{ID}'"
    )


def test_unknown_scale_of_a_case_is_said(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", ID, str(results), "--scale", "paper"]) == 1
    assert "not at paper scale" in capsys.readouterr().err
