from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

from matplotlib.axes import Axes

from gradshape_bench.report.plots import scenarios
from tests.bench.report.plots import sample as sample
from tests.bench.report.plots.sample import hollow, legends, texts
from tests.bench.sample import aimed

MIXED = "one_shot_3to4_vanilla_to_defended"
DEFENSE = "dp_adam_c4_s0.01_x2"


def heights(panel: Axes) -> list[float]:
    return [round(bar.get_height(), 4) for bar in panel.patches]  # type: ignore[attr-defined]


def test_a_bar_is_a_scenario_and_beside_it_its_control() -> None:
    (picture,) = scenarios.pictures(sample.scenarios())
    one, several, needed = picture.figure.axes
    assert heights(one)[:4] == [0.4658, 0.1781, 0.1644, 0.0959]
    assert heights(one)[4:] == [0.0274] * 4
    assert heights(several)[:2] == [0.9863, 0.6986]
    assert heights(needed) == [1.8, 2.5, 3.5, 5.4]


def test_axis_says_who_is_defended() -> None:
    (picture,) = scenarios.pictures(sample.scenarios())
    shown = texts(picture.figure)
    assert "neither\nre-training\nbase model\nboth" in shown
    assert "which of the two trainings is defended" in shown
    whole = shown.replace("\n", " ")
    assert "Poison Frogs against clip to 4, noise 0.01, rate × 2" in whole
    assert "class 3 to be taken for 4" in whole
    assert "one poison row: Poison Frogs, 100 candidates" in whole


def test_published_table_is_beside_it() -> None:
    (picture,) = scenarios.pictures(sample.scenarios(dataset="purchase100"))
    assert {y for _, y in hollow(picture.figure)} >= {0.4658, 0.1781, 0.1667, 1.0, 0.6164, 1.79, 2.47, 3.47}
    assert "published" in legends(picture.figure)
    (smoke,) = scenarios.pictures(sample.scenarios("smoke", dataset="purchase100"))
    assert hollow(smoke.figure) == []


def test_what_was_not_run_and_what_had_no_target_is_told() -> None:
    nobody = aimed(DEFENSE, won=0, control=0, targets=0, protocol=MIXED)
    (picture,) = scenarios.pictures([aimed(), nobody, aimed(DEFENSE)])
    (panel,) = picture.figure.axes
    assert [words.get_text() for words in panel.texts] == ["no target", "not run"]


def test_where_nothing_was_won_no_rows_were_needed() -> None:
    records = [
        aimed(poisons=1.8, protocol="multi_poison_3to4"),
        aimed(DEFENSE, won=0, protocol="multi_poison_3to4_vanilla_to_defended"),
        aimed(DEFENSE, poisons=2.8, protocol="multi_poison_3to4"),
    ]
    (picture,) = scenarios.pictures(records)
    _, needed = picture.figure.axes
    assert needed.texts[0].get_text() == "none won"


def test_a_single_bar_is_no_picture() -> None:
    assert list(scenarios.pictures([aimed(DEFENSE, protocol=MIXED)])) == []


def test_nobody_at_all_is_no_picture() -> None:
    assert list(scenarios.pictures([aimed(DEFENSE, won=0, control=0, targets=0, protocol=MIXED)])) == []


def test_a_picture_is_of_one_defence_attack_and_pair() -> None:
    records = [
        aimed(DEFENSE, protocol=MIXED),
        aimed("dp_adam_c1_x2", protocol=MIXED),
        aimed(DEFENSE, protocol=MIXED, attack="stingray_10"),
        aimed(DEFENSE, protocol=MIXED.replace("_3to4", "")),
    ]
    other = "one_shot_3to4_defended_to_vanilla"
    records += [
        replace(
            record,
            protocol=record.protocol.replace(MIXED.removeprefix("one_shot_3to4"), "_defended_to_vanilla"),
            case=f"{record.case}-{other}",
        )
        for record in records
    ]
    assert len({picture.name for picture in scenarios.pictures(records)}) == 4


def test_both_or_none_defended_is_no_comparison() -> None:
    assert list(scenarios.pictures([aimed(), aimed(DEFENSE)])) == []


def test_one_row_and_several_share_a_picture_whatever_their_numbers_of_candidates() -> None:
    few = sample.scenarios(attack="poison_frogs_10")[:4]
    many = sample.scenarios()
    (picture,) = scenarios.pictures([*few, many[0], *many[4:]])
    one, several, _ = picture.figure.axes
    assert (one.get_title(), several.get_title()) == (
        "one poison row: Poison Frogs, 10 candidates",
        "several poison rows: Poison Frogs,\n100 candidates",
    )
    assert len(heights(one)) == len(heights(several)) == 8
