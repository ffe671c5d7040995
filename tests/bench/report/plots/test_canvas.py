import math

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradshape.metrics import Estimate, mean_over_seeds, success_rate
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.published_marks import PublishedMark
from gradshape_bench.report.plots.style import nth_look
from tests.bench.sample import estimate

LOOK = nth_look(0)


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def test_unknown_is_a_gap(axes: Axes) -> None:
    line = canvas.curve(axes, [1, 2, 3], [estimate(0.1), None, estimate(0.3)], LOOK, label="a")
    assert np.isnan(np.asarray(line.get_ydata())).tolist() == [False, True, False]


def test_point_between_gaps_has_a_marker_and_its_interval(axes: Axes) -> None:
    values = [None if place in (48, 50) else estimate(0.5, half=0.1) for place in range(100)]
    line = canvas.curve(axes, list(range(100)), values, LOOK, label="a")
    markers = line.get_markevery()
    assert isinstance(markers, list)
    assert 49 in markers
    (alone,) = axes.collections[1].get_paths()
    assert np.asarray(alone.vertices).tolist() == [[49, 0.4], [49, 0.6]]


def test_long_curves_have_few_markers(axes: Axes) -> None:
    line = canvas.curve(axes, list(range(100)), [estimate(0.5)] * 100, LOOK, label="a")
    markers = line.get_markevery()
    assert isinstance(markers, list)
    assert 5 < len(markers) < 15


def test_intervals_are_a_band(axes: Axes) -> None:
    canvas.curve(axes, [1, 2], [Estimate(0.5, 0.3, 0.6, n=5), Estimate(0.5, 0.2, 0.9, n=5)], LOOK, label="a")
    (path,) = axes.collections[0].get_paths()
    heights = {round(float(y), 6) for y in np.asarray(path.vertices)[:, 1]}
    assert heights == {0.3, 0.6, 0.2, 0.9}


def test_intervals_of_many_curves_are_bars_beside_their_points(axes: Axes) -> None:
    canvas.curve(axes, [1, 2], [estimate(0.5, half=0.1)] * 2, LOOK, label="a", bars=0.25)
    (bars,) = axes.collections
    assert [np.asarray(path.vertices).tolist() for path in bars.get_paths()] == [
        [[place + 0.25, 0.4], [place + 0.25, 0.6]] for place in (1, 2)
    ]


def test_one_seed_has_no_band(axes: Axes) -> None:
    canvas.curve(axes, [1, 2], [estimate(0.5, half=None)] * 2, LOOK, label="a")
    assert axes.collections[0].get_paths() == []


@pytest.mark.parametrize(
    ("mark", "marker", "words"),
    [
        (PublishedMark(0.5), LOOK.marker, "published"),
        (PublishedMark(0.5, "<"), "v", "published upper bound"),
        (PublishedMark(0.5, ">"), "^", "published lower bound"),
        (PublishedMark(0.5, comparable=False), LOOK.marker, "published, not comparable"),
    ],
)
def test_published_numbers_are_hollow(axes: Axes, mark: PublishedMark, marker: str, words: str) -> None:
    (proxy,) = canvas.draw_published(axes, 3, [mark], LOOK)
    (line,) = axes.lines
    assert (line.get_marker(), line.get_markerfacecolor()) == (marker, "none")
    assert np.asarray(line.get_xydata()).tolist() == [[3, 0.5]]
    assert proxy.get_label() == words


def test_means_over_epochs_have_a_line_too(axes: Axes) -> None:
    (proxy,) = canvas.draw_published(axes, 3, [PublishedMark(0.5)], LOOK, level=True)
    assert proxy.get_label() == "published (mean over epochs)"
    assert [line.get_linestyle() for line in axes.lines] == ["-.", "None"]


def test_trials_of_a_rate_are_no_seeds(axes: Axes) -> None:
    assert canvas.seeds(axes, [1], [success_rate(3, 10)], LOOK) == []
    assert canvas.seeds(axes, [1], [estimate(0.1)], LOOK) == []
    (proxy,) = canvas.seeds(axes, [1, 2], [mean_over_seeds([0.1, 0.2]), None], LOOK)
    assert proxy.get_label() == canvas.SEEDS


def test_legend_has_each_entry_once() -> None:
    figure = Figure()
    lines = [canvas.curve(figure.add_subplot(), [1], [estimate(0.1)], LOOK, label=name) for name in "abab"]
    canvas.legend(figure, lines)
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["a", "b"]


def test_long_titles_are_broken() -> None:
    figure, _ = canvas.panels(1, 1, title="word " * 60)
    lines = figure.get_suptitle().split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 12 * math.ceil(figure.get_figwidth())
