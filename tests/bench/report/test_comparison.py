import math
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.__main__ import main
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.comparison import compare
from gradshape_bench.verdict import Threshold
from tests.bench.sample import estimate, make

ONE = make()
OTHER = make(attack="label_flip_40", rad=0.2)


def with_rad(record: Record, value: float, n: int = 5) -> Record:
    return replace(record, metrics={**record.metrics, "rad": Estimate(value, None, None, n=n)})


def test_the_same_records_say_the_same() -> None:
    found = compare([ONE, OTHER], [OTHER, ONE])
    assert found.same
    assert (found.cases, found.compared) == (2, 4 * (len(ONE.metrics) + len(OTHER.metrics)))
    assert list(found.lines())[-1] == "no number differs"


def test_time_and_machine_do_not_matter() -> None:
    assert compare([ONE], [replace(ONE, seconds=9.0, environment={"device": "cuda:0"})]).same


def test_missing_cases_matter_and_new_ones_do_not() -> None:
    fewer = compare([ONE, OTHER], [ONE])
    assert fewer.missing == [f"smoke {OTHER.case}"]
    assert not fewer.same
    more = compare([ONE], [ONE, OTHER])
    assert more.new == [f"smoke {OTHER.case}"]
    assert more.same


def test_cases_of_two_scales_are_two() -> None:
    assert compare([ONE], [replace(ONE, scale="paper")]).missing == [f"smoke {ONE.case}"]


def test_the_largest_difference_of_a_metric_is_told() -> None:
    near, far = with_rad(ONE, 0.5), with_rad(OTHER, 0.5)
    found = compare([near, far], [with_rad(ONE, 0.500001), with_rad(OTHER, 0.4)])
    assert [difference.case for difference in found.differences] == [f"smoke {OTHER.case}", f"smoke {ONE.case}"]
    [line] = [line for line in found.lines() if line.startswith("rad:")]
    assert line == f"rad: 2 differ, most in smoke {OTHER.case}: rad value 0.5 -> 0.4"


@pytest.mark.parametrize(("tolerance", "same"), [(0.0, False), (0.009, False), (0.011, True)])
def test_what_is_close_enough_is_the_same(tolerance: float, same: bool) -> None:
    assert compare([with_rad(ONE, 0.5)], [with_rad(ONE, 0.51)], tolerance=tolerance).same is same


def test_intervals_and_numbers_of_observations_count() -> None:
    wide = replace(ONE, metrics={**ONE.metrics, "rad": estimate(0.012, half=0.1)})
    assert {difference.part for difference in compare([ONE], [wide]).differences} == {"low", "high"}
    assert [d.part for d in compare([with_rad(ONE, 0.5)], [with_rad(ONE, 0.5, n=4)]).differences] == ["n"]


def test_a_metric_that_is_gone_is_an_infinite_difference() -> None:
    without = replace(ONE, metrics={name: value for name, value in ONE.metrics.items() if name != "rad"})
    found = compare([ONE], [without], tolerance=1.0)
    assert {difference.metric for difference in found.differences} == {"rad"}
    assert found.differences[0].size == math.inf
    assert "rad value 0.012 -> none" in str(found.differences[0]) or found.differences[0].part != "value"


def test_nan_is_the_same_as_nan_and_as_nothing_else() -> None:
    assert compare([with_rad(ONE, math.nan)], [with_rad(ONE, math.nan)]).same
    assert not compare([with_rad(ONE, math.nan)], [with_rad(ONE, 0.5)], tolerance=9.0).same


def test_another_status_or_verdict_is_a_change() -> None:
    threshold = Threshold("rad", "<", 0.05)
    good, bad = make(rad=0.012, thresholds=[threshold]), make(rad=0.2, thresholds=[threshold])
    assert compare([good], [bad], tolerance=9.0).changed == [f"smoke {ONE.case}: rad < 0.05 PASS -> FAIL"]
    failed = replace(ONE, status=Status.FAILED, metrics={}, judgements=())
    assert f"smoke {ONE.case}: status ok -> failed" in compare([ONE], [failed]).changed


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_bad_tolerance_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance="):
        compare([], [], tolerance=tolerance)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    for path, value in zip(paths, (0.5, 0.51), strict=True):
        ResultsFile(path).append(with_rad(ONE, value))
    return str(paths[0]), str(paths[1])


def test_the_command_says_what_differs(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files]) == 1
    assert "rad: 1 differ, most in smoke" in capsys.readouterr().out
    assert main(["diff", *files, "--tolerance", "0.1"]) == 0
    assert main(["diff", files[0], files[0]]) == 0


def test_the_command_names_a_file_that_is_not_there(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", files[0], str(tmp_path / "lost.jsonl")]) == 2
    assert "lost.jsonl: no such results file" in capsys.readouterr().err
    assert main(["diff", *files, "--tolerance", "-1"]) == 2
