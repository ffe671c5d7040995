from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet

from gradshape_bench.report.plots import decision_regions
from tests.bench.report.plots.sample import boundary as record
from tests.bench.report.plots.sample import clusters, legends, texts
from tests.bench.sample import make


def colors(axes: Axes) -> np.ndarray[Any, Any]:
    (image,) = axes.images
    return np.asarray(image.get_array())


def test_rows_are_first_and_defences_follow() -> None:
    (picture,) = decision_regions.pictures([record("dp_sgd_c1_s1"), record()])
    assert [axes.get_title() for axes in picture.figure.axes] == [
        "training rows",
        "no defence\ntest accuracy 0.980",
        "SGD, clip to 1, noise 1\ntest accuracy 0.980",
    ]
    assert picture.name == "fig10_boundary-smoke-two_moons-mlp-boundary"


def test_axes_and_legends_say_what_they_show() -> None:
    (picture,) = decision_regions.pictures([record()])
    assert legends(picture.figure) == ["class 0", "class 1"]
    assert "first feature" in texts(picture.figure)
    assert "second feature" in texts(picture.figure)
    assert "the paler a class' colour, the less sure" in texts(picture.figure)


def test_published_accuracies_are_in_the_titles_at_the_papers_scale_only() -> None:
    def titles(scale: str) -> list[str]:
        (picture,) = decision_regions.pictures([record(scale=scale), record("dp_sgd_c1_s1", scale=scale)])
        return [axes.get_title() for axes in picture.figure.axes[1:]]

    assert titles("paper") == [
        "no defence\ntest accuracy 0.980 (published 0.98)",
        "SGD, clip to 1, noise 1\ntest accuracy 0.980 (published 0.97)",
    ]
    assert not any("published" in title for title in titles("smoke"))


def test_first_cells_are_below() -> None:
    (picture,) = decision_regions.pictures([record(cells=(0, 0, 1, 1))])
    (image,) = picture.figure.axes[1].images
    assert image.origin == "lower"
    found = colors(picture.figure.axes[1])
    assert (found[0, 0] == found[0, 1]).all()
    assert (found[0, 0] != found[1, 0]).any()


def test_a_model_that_is_not_sure_is_white() -> None:
    sure = record().details["picture"]
    (picture,) = decision_regions.pictures([record(picture={**sure, "confidence": bytes([255, 191, 127, 255]).hex()})])
    depth = 1 - colors(picture.figure.axes[1]).mean(2)
    assert depth[1, 0] == pytest.approx(0)
    assert depth[0, 1] == pytest.approx(depth[0, 0] / 2, abs=0.01)
    assert depth[0, 0] > 0.1


def test_a_line_parts_the_classes_where_there_are_two() -> None:
    def lines(*cells: int) -> int:
        (picture,) = decision_regions.pictures([record(cells=cells)])
        return sum(isinstance(found, ContourSet) for found in picture.figure.axes[1].collections)

    assert lines(0, 0, 1, 1) == 1
    assert lines(0, 0, 0, 0) == 0


def test_classes_keep_their_colours_where_a_model_never_decides_for_one() -> None:
    (picture,) = decision_regions.pictures([record(cells=(1, 1, 1, 1))])
    (mixed,) = decision_regions.pictures([record(cells=(0, 0, 1, 1))])
    assert np.array_equal(colors(picture.figure.axes[1])[0, 0], colors(mixed.figure.axes[1])[1, 1])


def test_many_defences_are_parted() -> None:
    names = [picture.name for picture in decision_regions.pictures([record(f"dp_sgd_c{i}") for i in range(1, 5)])]
    assert [name.rpartition("-")[2] for name in names] == ["part1", "part2"]


@pytest.mark.parametrize("broken", [{}, [1], {"classes": "", "train": []}])
def test_records_without_regions_are_left_out(broken: Any) -> None:
    assert list(decision_regions.pictures([record(picture=broken), clusters(), make()])) == []
