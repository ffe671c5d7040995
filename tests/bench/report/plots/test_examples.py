from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

from gradshape_bench.report.plots import examples
from tests.bench.report.plots.sample import clusters, gradients, snapshot
from tests.bench.sample import make

OVERLAYS = [f"watermark_a{alpha}_100rows" for alpha in ("0.1", "0.4", "1")]
PATCHES = ["badnets_s4_1", "badnets_s14_1"]


def test_families_are_rows_and_intensities_columns() -> None:
    (picture,) = examples.pictures([gradients(attack) for attack in (*OVERLAYS, *PATCHES)])
    assert picture.name == "fig2_poisons-paper-fashion_mnist_34-lr-gradients"
    shown = [axes.get_title().rpartition("\n")[0] for axes in picture.figure.axes if axes.get_visible()]
    assert shown == ["4 × 4 pixels", "14 × 14 pixels", "opacity 0.1", "opacity 0.4", "opacity 1"]
    beside = [words.get_text().replace("\n", " ") for axes in picture.figure.axes for words in axes.texts]
    assert beside == ["BadNets patch, 1 %", "watermark, 100 rows"]


def test_titles_say_the_class_that_is_claimed() -> None:
    (picture,) = examples.pictures([gradients(example=snapshot(label=7))])
    assert picture.figure.axes[0].get_title() == "random label flips, 40 %\nlabelled as class 7"


def test_attacks_without_kin_share_a_row() -> None:
    (picture,) = examples.pictures([gradients("label_flip_40"), gradients("sota_40"), *map(gradients, PATCHES)])
    assert len(picture.figure.axes) == 4
    assert picture.figure.axes[1].get_title().startswith("data-dependent\nSteinhardt")


def test_an_attack_is_shown_once_whatever_it_met() -> None:
    (picture,) = examples.pictures([gradients(), gradients(defense="dp_adam_c4")])
    assert len(picture.figure.axes) == 1


def test_panels_beyond_a_short_family_are_hidden() -> None:
    (picture,) = examples.pictures([gradients(attack) for attack in (*OVERLAYS, *PATCHES)])
    assert [axes.get_visible() for axes in picture.figure.axes] == [True, True, False, True, True, True]


def test_long_families_take_several_rows() -> None:
    (picture,) = examples.pictures([gradients(f"label_flip_{percent}") for percent in range(1, 13)])
    assert len(picture.figure.axes) == 14
    assert sum(axes.get_visible() for axes in picture.figure.axes) == 12


def test_clean_rows_that_poison_was_made_from_are_above_it() -> None:
    made = snapshot(label=4) | {"original": snapshot(label=7)}
    (picture,) = examples.pictures([gradients("label_flip_40"), gradients("badnets_s4_1", example=made)])
    shown = [axes.get_title() for axes in picture.figure.axes if axes.get_visible()]
    assert [title.split()[-1] for title in shown] == ["7", "4", "1"]
    assert shown[0] == "before, labelled\nas class 7"


@pytest.mark.parametrize("broken", [None, {}, {"pixels": ""}, 1])
def test_poison_without_an_original_is_drawn_alone(broken: Any) -> None:
    (picture,) = examples.pictures([gradients(example=snapshot() | {"original": broken})])
    assert len(picture.figure.axes) == 1


@pytest.mark.parametrize(("shape", "images"), [((1, 4, 4), 1), ((3, 4, 4), 1), ((5,), 0)])
def test_rows_of_any_shape_are_drawn(shape: tuple[int, ...], images: int) -> None:
    (picture,) = examples.pictures([gradients(example=snapshot(shape))])
    assert len(picture.figure.axes[0].images) == images


def test_pixels_keep_their_brightness() -> None:
    (picture,) = examples.pictures([gradients(example=snapshot((1, 2, 2)))])
    (image,) = picture.figure.axes[0].images
    assert image.get_array().tolist() == [[0, 1], [2, 3]]  # type: ignore[union-attr]
    assert image.get_clim() == (0, 255)


@pytest.mark.parametrize("broken", [{}, {"pixels": ""}, [1], "x"])
def test_records_without_an_example_are_left_out(broken: Any) -> None:
    assert list(examples.pictures([gradients(example=broken), clusters(), make()])) == []
