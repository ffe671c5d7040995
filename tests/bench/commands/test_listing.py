import time
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.case_line import case_lines
from tests.bench.sample import aimed, make, odd

EVERYTHING = {record.key for record in odd()}


def listed(results: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Scale, outcome and id of each line."""
    assert main(["list", str(results), *arguments]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return [[line[0], line[1], line[-1]] for line in lines]


def ids(results: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str]]:
    return {(line[0], line[2]) for line in listed(results, *arguments, capsys=capsys)}


def test_every_case_has_a_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EVERYTHING)
    assert all(any(line.endswith(case) for line in lines) for _, case in EVERYTHING)


def test_line_says_what_the_attack_did_by_the_protocols_own_metric() -> None:
    lines = [line.split() for line in case_lines([make(), aimed(won=34, targets=73)])]
    assert lines[0][2:6] == ["rad", "0.012", "[0.008,", "0.016]"]
    assert lines[1][2:4] == ["success_rate", "0.466"]


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--scale", "paper"], {("paper", "digits-lr-label_flip_10-dp_adam_c4")}),
        (["--status", "crashed"], {("smoke", "digits-lr-label_flip_0-vanilla")}),
        (
            ["--status", "crashed", "--status", "failed"],
            {("smoke", "digits-lr-label_flip_0-vanilla"), ("smoke", "digits-lr-label_flip_0-dp_adam_c4")},
        ),
        (["-k", "no_threshold"], {("smoke", "digits-lr-label_flip_10-no_threshold")}),
        (["-k", "dp_adam_c8 or c1"], {("smoke", f"digits-lr-label_flip_10-dp_adam_{c}") for c in ("c8", "c1")}),
        (["-k", "m[0](x)"], {("smoke", "pipe|d`a`_ta_-m[0](x)-a|b_1-<i>*x*|_y_")}),
        (["--verdict", "inconclusive", "-k", "c8"], {("smoke", "digits-lr-label_flip_10-dp_adam_c8")}),
    ],
)
def test_filters_choose(
    arguments: list[str], chosen: set[tuple[str, str]], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ids(results, *arguments, capsys=capsys) == chosen


def test_missed_are_those_whose_test_failed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {record.key for record in odd() if record.missed or record.status.value in ("failed", "crashed")}
    assert ids(results, "--missed", capsys=capsys) == failed


def test_no_such_case_is_an_error(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(results), "-k", "nothing"]) == 1
    assert "error: none of 13 cases" in capsys.readouterr().err


def test_ten_thousand_cases_are_listed_in_a_second_beyond_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(make(case=f"case_{number}").to_json() + "\n" for number in range(10_000)))
    began = time.process_time()
    ResultsFile(path).records()
    read = time.process_time()
    main(["list", str(path)])
    assert time.process_time() - read < (read - began) + 1.0
    assert len(capsys.readouterr().out.splitlines()) == 10_000
