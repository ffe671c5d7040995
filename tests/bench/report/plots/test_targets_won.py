import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np

from gradshape_bench.report.plots import heat_map, intensities, targets_won
from gradshape_bench.report.plots.targets_won import Shaped
from tests.bench.report.plots.sample import aimed_grid, curves, hollow, legends, one_shot_gradients, texts
from tests.bench.sample import aimed, make

WON, CONTROL = "targets won", "targets won by clean rows (control)"


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("dp_adam_c0.1_x2", Shaped("dp_adam_x2", 0.1, 0.0)),
        ("dp_sgd_c2_s0.8", Shaped("dp_sgd", 2.0, 0.8)),
        ("dp_adam_c4_s1e-07_x2", Shaped("dp_adam_x2", 4.0, 1e-7)),
        ("dp_adam_c4-layer", None),
        ("deep_knn_5", None),
    ],
)
def test_settings_are_read_from_labels(label: str, found: Shaped | None) -> None:
    assert Shaped.of(label) == found


def test_one_shot_and_multi_poison_are_pictures_of_their_own() -> None:
    pictures = targets_won.pictures([*aimed_grid(), *aimed_grid("multi_poison_3to4")])
    assert sorted(picture.name.partition("-")[0] for picture in pictures) == ["fig5_one_shot", "fig6_multi_poison"]


def test_clipping_is_above_and_noise_below() -> None:
    (picture,) = targets_won.pictures(aimed_grid())
    above, below = picture.figure.axes
    assert [label.get_text() for label in above.get_xticklabels()] == ["no\ndefence", "8", "4", "2", "1", "0.1"]
    assert [label.get_text() for label in below.get_xticklabels()] == [
        "no\ndefence",
        "0",
        "0.001",
        "0.01",
        "0.1",
        "0.4",
    ]
    assert (above.get_xlabel(), below.get_xlabel()) == ("clipping norm, without noise", "noise, clipped to 4")


def test_control_and_utility_loss_are_beside_what_was_won() -> None:
    (picture,) = targets_won.pictures(aimed_grid(scale="smoke"))
    assert legends(picture.figure) == [WON, CONTROL, "accuracy lost without poison"]
    (above, _) = curves(picture.figure, "accuracy lost without poison")
    assert np.asarray(above.get_ydata()).tolist() == [0, 0.001, 0.002, 0.004, 0.006, 0.011]


def test_rows_needed_have_an_axis_of_their_own_and_a_gap_where_nothing_was_won() -> None:
    (picture,) = targets_won.pictures(aimed_grid("multi_poison_3to4"))
    assert "poison rows needed\n(mean over targets won)" in texts(picture.figure)
    _, below = curves(picture.figure, "poison rows needed")
    assert np.isnan(np.asarray(below.get_ydata())).tolist() == [False] * 5 + [True]


def test_rows_needed_at_one_place_only_are_no_panel() -> None:
    won = aimed(poisons=1.8, protocol="multi_poison_3to4")
    lost = [aimed(f"dp_adam_c{norm}_x2", won=0, protocol="multi_poison_3to4") for norm in (4, 1)]
    (picture,) = targets_won.pictures([won, *lost])
    assert len(picture.figure.axes) == 1


def test_a_rate_of_no_target_is_a_gap() -> None:
    records = [*aimed_grid()[:-1], aimed("dp_adam_c4_s0.4_x2", won=0, control=0, targets=0, scale="paper")]
    (picture,) = targets_won.pictures(records)
    _, below = curves(picture.figure, WON)
    assert np.isnan(np.asarray(below.get_ydata())).tolist() == [False] * 5 + [True]


def test_published_numbers_are_hollow_and_on_a_stand_in_called_not_comparable() -> None:
    (ours,) = targets_won.pictures(aimed_grid(dataset="purchase100"))
    assert {y for _, y in hollow(ours.figure)} == {0.4658, 0.0933, 0.0897}
    assert "published" in legends(ours.figure)
    (stand_in,) = targets_won.pictures(aimed_grid())
    assert hollow(stand_in.figure) == hollow(ours.figure)
    assert "published, not comparable" in legends(stand_in.figure)


def test_smoke_scale_has_no_published_numbers() -> None:
    (picture,) = targets_won.pictures(aimed_grid(scale="smoke"))
    assert hollow(picture.figure) == []


def test_learning_rates_are_families_of_their_own() -> None:
    others = [aimed(f"dp_adam_c{norm}", scale="paper") for norm in (4, 1)]
    names = [picture.name for picture in targets_won.pictures([*aimed_grid(), *others])]
    assert [name.rpartition("-")[2] for name in names] == ["dp_adam", "dp_adam_x2"]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [aimed()],
        [aimed("dp_adam_c4_x2")],
        [aimed(), aimed("deep_knn_5")],
        [make(), make(defense="vanilla")],
        [one_shot_gradients(), one_shot_gradients("dp_adam_c4_s0.1_x2")],
    ],
    ids=["nothing", "plain training", "one setting", "filters", "another protocol", "gradients"],
)
def test_without_settings_to_compare_there_is_no_picture(records: list[object]) -> None:
    assert list(targets_won.pictures(records)) == []  # type: ignore[arg-type]


def test_numbers_of_candidates_are_no_shares_of_the_rows() -> None:
    records = [aimed(attack=f"poison_frogs_{count}") for count in (10, 100)]
    assert list(intensities.pictures(records)) == []
    (picture,) = heat_map.pictures(records)
    assert "% of the clean rows" not in texts(picture.figure)


def test_a_rate_of_no_target_has_no_colour() -> None:
    records = [aimed(), aimed("dp_adam_c4_x2"), aimed("dp_adam_c4_s4_x2", won=0, control=0, targets=0)]
    (picture,) = heat_map.pictures(records)
    shown = texts(picture.figure).replace("\n", " ")
    assert "clip to 4, rate × 2" in shown
    assert "noise 4" not in shown
