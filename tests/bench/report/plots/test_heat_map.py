import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.figure import Figure

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.plots import heat_map
from gradshape_bench.verdict import Threshold
from tests.bench.report.plots.sample import clusters, gradients, texts, tradeoff
from tests.bench.sample import estimate, grid, make, unmeasured


def board(*records: Record) -> Figure:
    (picture,) = heat_map.pictures(records)
    return picture.figure


def cells(figure: Figure) -> list[str]:
    return [cell.get_text() for cell in figure.axes[0].texts]


def test_rows_are_attacks_and_columns_defences_in_their_order() -> None:
    axes = board(*grid()[::-1]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == ["label_flip_30", "label_flip_40"]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["vanilla", "dp_adam_c8"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("defence", "attack, % of the clean rows")


def test_a_cell_has_its_value_and_its_verdict() -> None:
    fails = make(defense="dp_adam_c8", rad=0.2, expected_failure="too loose")
    assert cells(board(make(), fails)) == ["0.200 ✗†", "0.012 ✓"]


def test_what_was_not_measured_is_a_dash_without_colour() -> None:
    figure = board(
        make(attack="a_1"), make(attack="b_1", defense="vanilla"), unmeasured(Status.FAILED, "no", attack="a_1")
    )
    assert cells(figure).count("–") == 2
    assert int(np.ma.getmaskarray(np.ma.asarray(figure.axes[0].images[0].get_array())).sum()) == 2


def test_best_defence_is_bold() -> None:
    figure = board(make(defense="vanilla", rad=0.2, loss=0.0), make(defense="dp_adam_c4", rad=0.01, loss=0.0))
    assert [cell.get_fontweight() for cell in figure.axes[0].texts] == ["normal", "bold"]


def test_text_is_light_on_dark_cells() -> None:
    figure = board(make(defense="vanilla", rad=0.9), make(rad=0.0))
    assert [cell.get_color() for cell in figure.axes[0].texts] == ["white", "black"]


def test_noise_has_no_dark_cells() -> None:
    figure = board(make(defense="vanilla", rad=0.001), make(rad=-0.002))
    assert figure.axes[0].images[0].get_clim() == (0, 0.05)


def test_ratios_of_errors_begin_at_1() -> None:
    low, high = ({"mse_ratio": estimate(value)} for value in (1.1, 3.0))
    figure = board(make(defense="a", metrics=low, thresholds=()), make(defense="b", metrics=high, thresholds=()))
    assert figure.axes[0].images[0].get_clim() == (1, 3)
    assert "times that without poison" in texts(figure)


def test_colours_and_signs_are_explained() -> None:
    shown = texts(board(make(), make(defense="vanilla")))
    assert "relative accuracy drop\nby the poison (share)" in shown
    assert "✗ misses one" in shown


def test_thresholds_are_not_needed() -> None:
    assert cells(board(make(thresholds=()), make(defense="vanilla", thresholds=(Threshold("rad", "<", 0.05),)))) == [
        "0.012 ✓",
        "0.012",
    ]


def test_what_ranks_no_defence_is_left_out() -> None:
    records = [*tradeoff(), gradients(), gradients(defense="dp_adam_c4"), clusters("sota_10"), clusters()]
    assert list(heat_map.pictures(records)) == []


def test_a_single_cell_is_no_map() -> None:
    assert list(heat_map.pictures([make()])) == []
