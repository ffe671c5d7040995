"""The dose of an attack: the fewest poison rows, of those run, that are beyond the threshold."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.report.board.budgets import family
from gradshape_bench.report.board.dose import doses
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.leaderboard import render
from gradshape_bench.verdict import Threshold
from tests.bench.report.board.sample import measured

SMALL, LARGE, OPEN = (0.02, 0.01, 0.03), (0.2, 0.1, 0.3), (0.06, 0.01, 0.2)


def runs(found: Mapping[int, tuple[float, float, float]], *, defense: str = "vanilla", op: str = "<") -> list[Record]:
    """Records of one family, by number of poison rows, with an interval each."""
    records = []
    for rows, (value, low, high) in found.items():
        record = measured(
            defense, 0.1, attack=f"sota_{rows // 10}", rows=rows, thresholds=(Threshold("rad", op, 0.05),)
        )
        [judgement] = record.judgements
        rad = Estimate(value, low, high, n=5)
        records.append(record.__class__(**{**record.__dict__, "metrics": {**record.metrics, "rad": rad}}))
        assert judgement.threshold.bound == 0.05
    return records


@pytest.mark.parametrize(
    ("found", "smallest", "largest", "left_open"),
    [
        ({10: SMALL, 20: SMALL, 40: SMALL}, None, 40, ()),
        ({10: SMALL, 20: LARGE, 40: LARGE}, 20, 40, ()),
        ({10: SMALL, 20: OPEN, 40: LARGE}, 40, 40, (20,)),
        ({10: SMALL, 20: OPEN}, None, 20, (20,)),
        ({10: LARGE, 20: SMALL, 40: OPEN}, 10, 40, ()),
    ],
)
def test_dose(
    found: dict[int, tuple[float, float, float]], smallest: int | None, largest: int, left_open: tuple[int, ...]
) -> None:
    [group] = RecordGroup.of(runs(found))
    [dose] = doses(group).values()
    assert (dose.smallest, dose.largest, dose.open) == (smallest, largest, left_open)


def test_an_attack_that_is_expected_to_work_has_a_dose_too() -> None:
    [group] = RecordGroup.of(runs({10: SMALL, 20: LARGE}, op=">"))
    assert [dose.smallest for dose in doses(group).values()] == [20]


def test_rows_without_poison_and_cases_without_a_threshold_have_none() -> None:
    [group] = RecordGroup.of([measured("vanilla", 0.1, rows=0), measured("dp_adam_c4", 0.1, thresholds=())])
    assert doses(group) == {}


def test_a_single_seed_tells_no_dose() -> None:
    record = measured("vanilla", 0.1)
    single = {**record.metrics, "rad": Estimate(0.2, None, None, n=1)}
    [group] = RecordGroup.of([replace(record, metrics=single)])
    assert doses(group) == {}


def test_the_page_says_rows_share_and_up_to_where_there_is_none() -> None:
    page = render(
        [
            *runs({10: SMALL, 20: LARGE}),
            *runs({10: SMALL, 25: SMALL}, defense="dp_adam_c4"),
            *runs({30: OPEN}, defense="x"),
        ]
    )["leaderboard/smoke-digits-lr.md"]
    part = page[page.index("### Dose") :]
    line = next(line for line in part.splitlines() if line.startswith("| sota (0.05)"))
    assert [cell.strip() for cell in line.split("|")[2:4]] == ["20 (2.0 %)", "none up to 25 (2.5 %)"]
    assert "none up to 30 (3.0 %), open at 30" in part


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        ("label_flip_koh90_10", "label_flip_koh90"),
        ("dpv_eps1_label_aversion_20", "dpv_eps1_label_aversion"),
        ("label_flip_0.5", "label_flip"),
        ("no_attack", "no_attack"),
        ("a_1e-05", "a"),
        ("10", "10"),
    ],
)
def test_family(attack: str, name: str) -> None:
    assert family(attack) == name
