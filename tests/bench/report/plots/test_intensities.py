from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np

from gradshape.metrics import mean_over_seeds
from gradshape_bench.records.record import Status
from gradshape_bench.report.plots import canvas, intensities
from tests.bench.report.plots import sample as sample
from tests.bench.report.plots.sample import curves, hollow, legends, texts
from tests.bench.sample import estimate, grid, make, unmeasured

TASK = "Fashion-MNIST, dress against coat: logistic regression"


def test_damage_and_total_have_a_picture_each() -> None:
    names = [picture.name for picture in intensities.pictures(sample.intensities())]
    end = "paper-fashion_mnist_34-lr-from_scratch"
    assert names == [f"fig4_rad_vs_vanilla-{end}", f"fig4_rad-{end}"]


def test_axes_say_what_they_show() -> None:
    total, damage = intensities.pictures(sample.intensities())
    assert "poison (% of the clean training rows)" in texts(damage.figure)
    assert "relative accuracy drop\nby the poison (share)" in texts(damage.figure)
    assert "relative accuracy drop vs. clean\nmodel without defence (share)" in texts(total.figure)
    assert f"{TASK}, trained from scratch (paper scale)" in texts(total.figure).replace("\n", " ")


def test_a_curve_is_a_defence_over_the_intensities() -> None:
    _, damage = intensities.pictures(sample.intensities())
    assert legends(damage.figure) == ["no defence", "clip to 4", "clip to 1"]
    (line,) = curves(damage.figure, "clip to 4")
    assert np.asarray(line.get_xydata()).tolist() == [[0, 0], [10, 0.01], [40, 0.04]]


def test_what_was_not_measured_is_a_gap() -> None:
    records = [
        record for record in sample.intensities() if (record.attack, record.defense) != ("label_flip_10", "vanilla")
    ]
    records.append(unmeasured(Status.FAILED, "diverged", attack="label_flip_10", defense="vanilla"))
    _, damage = intensities.pictures(records)
    (line,) = curves(damage.figure, "no defence")
    assert np.isnan(np.asarray(line.get_ydata())).tolist() == [False, True, False]


def test_published_numbers_are_beside_those_that_measure_the_same() -> None:
    total, damage = intensities.pictures(sample.intensities())
    assert sorted(hollow(total.figure)) == [(40, 0.011), (40, 0.028)]
    assert "published" in legends(total.figure)
    assert hollow(damage.figure) == []


def test_smoke_scale_has_no_published_numbers() -> None:
    assert [hollow(picture.figure) for picture in intensities.pictures(sample.intensities(scale="smoke"))] == [[], []]


def test_clipping_and_noise_are_columns_with_plain_training_in_both() -> None:
    total, _ = intensities.pictures(grid())
    assert len(total.figure.axes) == 2
    assert len(curves(total.figure, "no defence")) == 2
    assert len(curves(total.figure, "clip to 8")) == len(curves(total.figure, "clip to 4, noise 0.1")) == 1


def test_families_of_attacks_are_rows() -> None:
    flips = sample.intensities()
    others = [make(attack=f"sota_{percent}", dataset=sample.DATASET, scale="paper") for percent in (10, 40)]
    total, _ = intensities.pictures([*flips, *others])
    assert [panel.get_title() for panel in total.figure.axes] == ["random label flips", "data-dependent Steinhardt"]


def test_ratios_of_errors_are_drawn_as_such() -> None:
    metrics = {"mse_ratio": estimate(1.5), "mse_ratio_vs_vanilla": estimate(1.6)}
    records = [make(attack=f"flip_{percent}", metrics=metrics, thresholds=()) for percent in (10, 40)]
    total, damage = intensities.pictures(records)
    assert "times that of\nthe clean model without defence" in texts(total.figure)
    assert "times that without poison" in texts(damage.figure)


def test_a_single_intensity_is_no_curve() -> None:
    assert list(intensities.pictures([make(), make(defense="vanilla")])) == []


def test_a_defence_that_met_one_intensity_only_is_no_curve() -> None:
    alone = make(dataset=sample.DATASET, attack="label_flip_10", defense="dp_adam_c8", scale="paper")
    total, _ = intensities.pictures([*sample.intensities(), alone])
    assert legends(total.figure).count("clip to 8") == 0


def test_a_panel_with_nothing_but_plain_training_is_hidden() -> None:
    noisy = [f"dp_adam_c4_s{std}" for std in (1, 2)]
    flips = [
        make(attack=f"label_flip_{n}", defense=d)
        for n in (10, 40)
        for d in ("vanilla", *noisy, "dp_adam_c4", "dp_adam_c1")
    ]
    others = [make(attack=f"sota_{n}", defense=d) for n in (10, 40) for d in ("vanilla", "dp_adam_c4", "dp_adam_c1")]
    total, _ = intensities.pictures([*flips, *others])
    assert [panel.axison for panel in total.figure.axes] == [True, True, True, False]
    assert total.figure.axes[3].get_legend() is not None
    assert total.figure.axes[1].get_xlabel() == "poison (% of the clean training rows)"


def test_single_seeds_are_faint_points() -> None:
    values = (0.1, 0.2, 0.3)
    known = [replace(r, metrics={**r.metrics, "rad": mean_over_seeds(values)}) for r in sample.intensities()]
    _, damage = intensities.pictures(known)
    assert canvas.SEEDS in legends(damage.figure)
    drawn = [np.asarray(found.get_offsets()) for found in damage.figure.axes[0].collections]
    points = [found for found in drawn if len(found) == 9]
    assert len(points) == 3
    assert {round(float(y), 6) for y in points[0][:, 1]} == set(values)


def test_looks_into_training_are_no_damage() -> None:
    records = [sample.gradients(f"label_flip_{percent}") for percent in (10, 40)]
    assert list(intensities.pictures([*records, sample.clusters("sota_10"), sample.clusters("sota_40")])) == []
