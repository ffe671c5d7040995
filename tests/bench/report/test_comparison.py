import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.__main__ import main
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.comparison import compare
from gradshape_bench.verdict import Threshold, Verdict, judge
from tests.bench.sample import estimate, make

ONE = make()
OTHER = make(attack="label_flip_40", rad=0.2)


def with_rad(record: Record, value: float, n: int = 5) -> Record:
    return replace(record, metrics={**record.metrics, "rad": Estimate(value, None, None, n=n)})


def test_the_same_records_say_the_same() -> None:
    found = compare([ONE, OTHER], [OTHER, ONE])
    assert found.same
    assert (found.cases, found.compared) == (2, 4 * (len(ONE.metrics) + len(OTHER.metrics)))
    assert list(found.lines())[-1] == "nothing differs"


def test_time_and_machine_do_not_matter() -> None:
    assert compare([ONE], [replace(ONE, seconds=9.0, environment={"device": "cuda:0"})]).same


def test_missing_and_new_cases_matter() -> None:
    fewer = compare([ONE, OTHER], [ONE])
    assert fewer.missing == [f"smoke {OTHER.case}"]
    assert not fewer.same
    more = compare([ONE], [ONE, OTHER])
    assert more.new == [f"smoke {OTHER.case}"]
    assert not more.same


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
    assert compare([good], [bad], tolerance=9.0).changed == [
        f"smoke {ONE.case}: rad < 0.05 PASS -> FAIL",
        f"smoke {ONE.case}: rad < 0.05 met True -> False",
    ]
    failed = replace(ONE, status=Status.FAILED, metrics={}, judgements=())
    assert compare([ONE], [failed]).changed == [f"smoke {ONE.case}: status ok -> failed"]


STRICT = Threshold("rad", "<", -5)
CHANGES: dict[str, tuple[Callable[[Record], Record], str]] = {
    "bound": (lambda one: replace(one, judgements=(judge(STRICT, one.metrics),)), "bound=-5) is new"),
    "bound, a little": (
        lambda one: replace(one, judgements=(judge(Threshold("rad", "<", 0.05 + 1e-12), one.metrics),)),
        "bound=0.05) is gone",
    ),
    "no threshold": (lambda one: replace(one, judgements=()), "bound=0.05) is gone"),
    "a second threshold": (
        lambda one: replace(one, judgements=(*one.judgements, judge(STRICT, one.metrics))),
        "bound=-5) is new",
    ),
    "the same one twice": (lambda one: replace(one, judgements=one.judgements * 2), "bound=0.05) is new"),
    "met": (
        lambda one: replace(one, judgements=(replace(one.judgements[0], met=False),)),
        "rad < 0.05 met True -> False",
    ),
    "verdict": (
        lambda one: replace(one, judgements=(replace(one.judgements[0], verdict=Verdict.FAIL),)),
        "rad < 0.05 PASS -> FAIL",
    ),
    "seeds": (lambda one: replace(one, seeds=(5, 6, 7, 8, 9)), "seeds [0, 1, 2, 3, 4] -> [5, 6, 7, 8, 9]"),
    "rows": (lambda one: replace(one, dataset_fingerprint="other"), "-> other"),
    "expected": (lambda one: replace(one, expected_failure="weak"), "expected failure None -> 'weak'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_case_is_and_how_it_is_judged_is_compared(change: str) -> None:
    alter, said = CHANGES[change]
    found = compare([ONE], [alter(ONE)], tolerance=9.0)
    assert not found.same
    assert any(line.startswith(f"smoke {ONE.case}: ") and line.endswith(said) for line in found.changed)
    assert not compare([alter(ONE)], [ONE], tolerance=9.0).same
    assert list(found.lines())[-1] == "no number differs"


def test_another_fingerprint_is_said_and_is_no_difference() -> None:
    found = compare([ONE, OTHER], [replace(ONE, fingerprint="other"), OTHER])
    assert found.same
    assert "1 with another fingerprint, which is no difference by itself" in found.lines()


def test_no_tolerance_makes_numbers_of_observations_equal() -> None:
    found = compare([with_rad(ONE, 0.5)], [with_rad(ONE, 0.5, n=4)], tolerance=9.0)
    assert [difference.part for difference in found.differences] == ["n"]


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


def test_the_command_compares_no_files_without_records(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, prose = tmp_path / "empty.jsonl", tmp_path / "README.md"
    empty.write_bytes(b"")
    prose.write_text("# Read me\n", encoding="utf-8")
    for pair in ([empty, empty], [prose, prose], [files[0], prose], [empty, files[0]]):
        assert main(["diff", *map(str, pair)]) == 2
        assert "it holds no record" in capsys.readouterr().err


def test_the_command_says_which_lines_it_leaves_out(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with Path(files[0]).open("a", encoding="utf-8") as file:
        file.write("no record\n")
    assert main(["diff", files[0], files[0]]) == 0
    assert f"{files[0]}:2" in capsys.readouterr().err


def test_the_command_names_a_file_that_is_not_there(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", files[0], str(tmp_path / "lost.jsonl")]) == 2
    assert "lost.jsonl: no such results file" in capsys.readouterr().err
    assert main(["diff", *files, "--tolerance", "-1"]) == 2
