from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np

from gradshape.metrics import mean_over_seeds
from gradshape_bench.report.plots import canvas, privacy_tradeoff
from gradshape_bench.report.plots.published_marks import PublishedMark
from tests.bench.report.plots.sample import curves, hollow, legends, private, texts, tradeoff
from tests.bench.sample import make


def test_a_curve_is_a_clipping_norm() -> None:
    (picture,) = privacy_tradeoff.pictures(tradeoff())
    assert legends(picture.figure) == ["clip to 4", "clip to 1", "no defence"]


def test_axes_say_which_epsilon_and_delta() -> None:
    (picture,) = privacy_tradeoff.pictures(tradeoff())
    shown = texts(picture.figure)
    assert "nominal ε (δ = 1e-05)" in shown
    assert "ε that holds (δ = 1e-05)" in shown
    assert "test accuracy on clean data" in shown


def test_epsilons_are_on_a_logarithmic_axis_and_infinity_has_a_place() -> None:
    (picture,) = privacy_tradeoff.pictures(tradeoff())
    nominal, _ = curves(picture.figure, "clip to 4")
    places = np.asarray(nominal.get_xdata())
    assert places[:2] == pytest.approx(np.log10([6.5, 2e6]))
    axes = picture.figure.axes[0]
    ticks = dict(zip([label.get_text() for label in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert places[2] == ticks["∞"] > 7


def test_no_privacy_loss_at_all_has_a_place_too() -> None:
    records = [*tradeoff(), private("dp_adam_c1_s99", 0.1, norm=1.0, std=99.0, nominal=0.0, holds=0.0)]
    (picture,) = privacy_tradeoff.pictures(records)
    axes = picture.figure.axes[0]
    assert axes.get_xticklabels()[0].get_text() == "0"
    nominal, _ = curves(picture.figure, "clip to 1")
    assert np.asarray(nominal.get_xdata())[0] == axes.get_xticks()[0]


def test_equal_epsilons_are_no_trouble() -> None:
    same = [private(f"dp_adam_c4-{name}", 0.9, norm=4.0, std=1.0, nominal=2.0, holds=3.0) for name in "ab"]
    (picture,) = privacy_tradeoff.pictures(same)
    assert len(np.asarray(curves(picture.figure, "clip to 4")[0].get_xdata())) == 2


def test_published_accuracies_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        privacy_tradeoff,
        "published_marks",
        lambda record, metric: [PublishedMark(0.97)] if record.defense != "vanilla" else [],
    )
    records = [private("vanilla", 0.9, norm=None), private("dp_adam_c1_s1", 0.9, norm=1.0, std=1.0, nominal=5.0)]
    (picture,) = privacy_tradeoff.pictures(records)
    assert {y for _, y in hollow(picture.figure)} == {0.97}
    assert "published" in legends(picture.figure)


def test_single_seeds_are_faint_points() -> None:
    known = {"accuracy_clean": mean_over_seeds([0.8, 0.9])}
    (picture,) = privacy_tradeoff.pictures([replace(record, metrics=known) for record in tradeoff()])
    assert legends(picture.figure) == ["clip to 4", "clip to 1", "no defence", canvas.SEEDS]


def test_without_noise_there_is_nothing_to_show() -> None:
    assert (
        list(privacy_tradeoff.pictures([private("vanilla", 0.9, norm=None), private("dp_adam_c4", 0.9, norm=4.0)]))
        == []
    )


def test_attacked_records_are_left_out() -> None:
    assert list(privacy_tradeoff.pictures([make(details={"privacy": {"noise_std": 1.0, "epsilon": 2.0}})])) == []
