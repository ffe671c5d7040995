import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.axes import Axes

from gradshape_bench.report.plots import sample_norms
from tests.bench.report.plots.sample import EPOCHS, clusters, curves, decay, gradients, legends, series, texts
from tests.bench.sample import make

FLIPPED = "random label flips, 40 %"
CLIPPED = {"magnitude_ratio": series(decay(2, 1))}


def dotted(axes: Axes) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_linestyle() == ":"]


def test_norms_of_poison_are_a_curve_and_those_of_clean_rows_dots() -> None:
    (picture,) = sample_norms.pictures([gradients()])
    (axes,) = picture.figure.axes
    (poison,) = curves(picture.figure, FLIPPED)
    assert np.asarray(poison.get_ydata()).tolist() == decay(4, 3)
    assert np.asarray(poison.get_xdata()).tolist() == list(range(1, EPOCHS + 1))
    assert decay(2, 1) in dotted(axes)
    assert picture.name == "sample_norms-paper-fashion_mnist_34-lr-gradients-label_flip"


def test_the_ratio_before_clipping_is_drawn_only_where_clipping_changed_it() -> None:
    (same,) = sample_norms.pictures([gradients()])
    (other,) = sample_norms.pictures([gradients(), gradients(defense="dp_adam_c4", curves=CLIPPED)])
    assert len(same.figure.axes) == 1
    assert len(other.figure.axes) == 4
    assert "magnitude ratio\nbefore clipping" in texts(other.figure)
    assert np.asarray(curves(other.figure, FLIPPED)[-1].get_ydata()).tolist() == decay(6, 2.5)
    assert decay(2, 1) in dotted(other.figure.axes[3])


def test_legend_ends_with_what_is_compared() -> None:
    (picture,) = sample_norms.pictures([gradients(curves=CLIPPED), gradients("label_flip_10")])
    assert legends(picture.figure) == ["10 %", "40 %", sample_norms.CLEAN, sample_norms.ENTERED]


def test_norms_over_a_wide_range_have_a_logarithmic_axis() -> None:
    (picture,) = sample_norms.pictures([gradients(curves={"sample_norm_poison": series(decay(400, 100))})])
    assert picture.figure.axes[0].get_yscale() == "log"


def test_records_without_norms_are_left_out() -> None:
    useless = gradients(curves={"sample_norm_poison": {}})
    assert list(sample_norms.pictures([useless, make(), clusters()])) == []
