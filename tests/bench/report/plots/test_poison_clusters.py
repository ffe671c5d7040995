import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

from gradshape_bench.report.plots import poison_clusters
from tests.bench.report.plots.sample import clusters as record
from tests.bench.report.plots.sample import gradients, legends, texts


def test_attacks_are_rows_of_classes_and_clusters() -> None:
    (picture,) = poison_clusters.pictures([record("label_flip_40"), record("sota_40")])
    titles = [axes.get_title() for axes in picture.figure.axes]
    assert titles[0] == "random label flips, 40 %: classes"
    assert titles[1] == "k-means: 95 % of the poison in clusters of mostly poison"
    assert "data-dependent Steinhardt, 40 %: classes" in titles


def test_axes_and_legends_say_what_they_show() -> None:
    (picture,) = poison_clusters.pictures([record()])
    assert "component 1 (31 % of variance)" in texts(picture.figure)
    assert "component 2 (12 % of variance)" in texts(picture.figure)
    assert {"class 0", "class 1", "cluster 1", "cluster 4", "clean row"} <= set(legends(picture.figure))


def test_frequent_poisons_are_shown_with_their_number() -> None:
    (picture,) = poison_clusters.pictures([record()])
    assert "class 1\n3,970 rows" in texts(picture.figure)
    assert sum(len(axes.images) for axes in picture.figure.axes) == 2


def test_more_copies_are_a_larger_symbol() -> None:
    (picture,) = poison_clusters.pictures([record()])
    sizes = [float(size) for found in picture.figure.axes[0].collections for size in found.get_sizes()]  # type: ignore[attr-defined]
    assert len(set(sizes)) == 3
    assert max(sizes) > 3 * min(sizes)


@pytest.mark.parametrize(("shape", "images"), [((3, 4, 4), 2), ((1, 8, 8), 2), ((5,), 0), ((2,), 0)])
def test_rows_of_any_shape_are_drawn(shape: tuple[int, ...], images: int) -> None:
    (picture,) = poison_clusters.pictures([record(shape=shape)])
    assert sum(len(axes.images) for axes in picture.figure.axes) == images
    assert len(picture.figure.axes) == 4


def test_classes_beyond_the_colours_have_other_symbols() -> None:
    (picture,) = poison_clusters.pictures([record(classes=10)])
    legend = picture.figure.axes[0].get_legend()
    assert legend is not None
    symbols = {(line.get_color(), line.get_marker()) for line in legend.get_lines()}
    assert len(symbols) == 10


def test_many_attacks_are_parted() -> None:
    names = [picture.name for picture in poison_clusters.pictures([record(f"sota_{i}") for i in range(4)])]
    assert [name.rpartition("-")[2] for name in names] == ["part1", "part2"]


def test_records_without_points_are_left_out() -> None:
    assert list(poison_clusters.pictures([gradients()])) == []
