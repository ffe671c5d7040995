import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np

from gradshape_bench.report.plots import gradients_by_defense, gradients_by_intensity, training_accuracy
from tests.bench.report.plots.sample import (
    EPOCHS,
    clusters,
    curves,
    decay,
    hollow,
    legends,
    one_shot_gradients,
    series,
    texts,
)
from tests.bench.report.plots.sample import gradients as record
from tests.bench.sample import make

FLIPPED = "random label flips, 40 %"


def test_one_picture_for_each_family_of_attacks() -> None:
    records = [record("collision_a0.1_40"), record("collision_a0.9_40"), record("insertion_p4_1")]
    pictures = list(gradients_by_intensity.pictures(records))
    assert [picture.name for picture in pictures] == [
        f"fig1_gradients-paper-fashion_mnist_34-lr-gradients-{family}" for family in ("collision_a", "insertion_p")
    ]
    assert legends(pictures[0].figure)[:2] == ["collision_a0.1_40", "collision_a0.9_40"]


def test_defences_are_columns_that_share_their_axes() -> None:
    (picture,) = gradients_by_intensity.pictures([record(), record(defense="dp_adam_c4")])
    axes = picture.figure.axes
    assert [panel.get_title() for panel in axes] == ["no defence", "clip to 4", "", ""]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[2].get_ylim() == axes[3].get_ylim()


def test_axes_say_what_they_show() -> None:
    (picture,) = gradients_by_intensity.pictures([record()])
    shown = texts(picture.figure)
    assert "magnitude ratio" in shown
    assert "cosine of" in shown
    assert "training epoch" in shown
    assert "Fashion-MNIST, dress against coat: logistic regression, while training (paper scale)" in shown.replace(
        "\n", " "
    )


def test_first_epoch_is_1() -> None:
    (picture,) = gradients_by_intensity.pictures([record()])
    (ratio, _) = curves(picture.figure, FLIPPED)
    assert np.asarray(ratio.get_xdata()).tolist() == list(range(1, EPOCHS + 1))


def test_unknown_epochs_are_gaps() -> None:
    gapped = [None, *decay(6, 2.5)[1:]]
    (picture,) = gradients_by_intensity.pictures([record(curves={"magnitude_ratio": series(gapped)})])
    (ratio, cosine) = curves(picture.figure, FLIPPED)
    assert np.isnan(np.asarray(ratio.get_ydata())).sum() == 1
    assert not np.isnan(np.asarray(cosine.get_ydata())).any()


def test_placebo_is_beside_the_poison() -> None:
    (picture,) = gradients_by_intensity.pictures([record()])
    assert legends(picture.figure).count(gradients_by_intensity.PLACEBO) == 1
    lines = [np.asarray(line.get_ydata()) for line in picture.figure.axes[0].lines if line.get_marker() == "None"]
    (placebo,) = (line for line in lines if len(line) == EPOCHS)
    assert placebo[0] == 1


def test_ratios_over_a_wide_range_have_a_logarithmic_axis() -> None:
    (narrow,) = gradients_by_intensity.pictures([record()])
    (wide,) = gradients_by_intensity.pictures([record(curves={"magnitude_ratio": series(decay(400, 2))})])
    assert (narrow.figure.axes[0].get_yscale(), wide.figure.axes[0].get_yscale()) == ("linear", "log")


@pytest.mark.parametrize("module", [gradients_by_intensity, gradients_by_defense])
def test_published_means_are_marked_at_the_papers_scale_only(module: object) -> None:
    def marked(scale: str) -> set[float]:
        (picture,) = module.pictures([record(scale=scale), record(defense="dp_adam_c4", scale=scale)])  # type: ignore[attr-defined]
        return {y for _, y in hollow(picture.figure)}

    assert marked("paper") == {2.527, 2.221}
    assert marked("smoke") == set()


def test_published_ratio_of_clipped_gradients_is_called_not_comparable() -> None:
    (picture,) = gradients_by_defense.pictures([record(), record(defense="dp_adam_c4")])
    assert legends(picture.figure)[-2:] == [
        "published (mean over epochs)",
        "published, not comparable (mean over epochs)",
    ]


def test_defences_are_compared_where_there_are_several() -> None:
    (picture,) = gradients_by_defense.pictures([record(), record(defense="dp_adam_c4"), record("sota_40")])
    assert [panel.get_title() for panel in picture.figure.axes] == [FLIPPED, ""]
    assert legends(picture.figure)[:2] == ["no defence", "clip to 4"]


def test_many_attacks_are_parted() -> None:
    records = [record(f"label_flip_{i}", defense) for i in range(1, 6) for defense in ("vanilla", "dp_adam_c4")]
    names = [picture.name for picture in gradients_by_defense.pictures(records)]
    assert [name.rpartition("-")[2] for name in names] == ["part1", "part2"]


def test_accuracies_have_published_bounds() -> None:
    (picture,) = training_accuracy.pictures([record(), record("sota_40")])
    assert legends(picture.figure) == [
        "clean rows",
        "poison, as it is labelled",
        "published lower bound",
        "published upper bound",
    ]
    assert sorted(y for _, y in hollow(picture.figure)) == [0.3, 0.8, 0.8, 0.9]
    assert "accuracy on training rows" in texts(picture.figure)


def test_panels_without_an_attack_are_hidden() -> None:
    records = [record(f"label_flip_{i}") for i in range(1, 8)]
    (picture,) = training_accuracy.pictures(records)
    assert [panel.get_visible() for panel in picture.figure.axes] == [True] * 7 + [False] * 2


@pytest.mark.parametrize("broken", [{}, {"value": [1.0]}, {"value": 1, "low": 2, "high": 3}, [1], series([None] * 3)])
def test_record_without_a_usable_series_is_left_out(broken: object) -> None:
    names = ("magnitude_ratio", "cosine_similarity", "train_accuracy_clean", "train_accuracy_poison")
    useless = record(curves=dict.fromkeys(names, broken))
    for module in (gradients_by_intensity, gradients_by_defense, training_accuracy):
        assert list(module.pictures([useless])) == []


def test_records_of_other_protocols_are_left_out() -> None:
    for module in (gradients_by_intensity, gradients_by_defense, training_accuracy):
        assert list(module.pictures([make(), clusters()])) == []


def test_one_poison_row_is_figure_7_with_its_placebo() -> None:
    (picture,) = gradients_by_defense.pictures([one_shot_gradients(), one_shot_gradients("dp_adam_c4_s0.1_x2")])
    assert picture.name == "fig7_gradients-paper-purchase_synthetic-lr-gradients_one_shot_3to4"
    assert gradients_by_intensity.PLACEBO in legends(picture.figure)
    assert {y for _, y in hollow(picture.figure)} == {7.46, 1.14}
    assert "published, not comparable (mean over epochs)" in legends(picture.figure)


def test_placebo_is_left_out_where_there_is_no_room() -> None:
    (picture,) = gradients_by_defense.pictures([record(), record(defense="dp_adam_c4")])
    assert gradients_by_intensity.PLACEBO not in legends(picture.figure)
