import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.attacks import Attack, LabelFlip, NoAttack
from gradshape.data import load
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import SGD, AnyRecipe, Fit, Layers, Recipe, Weighting
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.protocols import GradientDifferences, Measurement, Retrained, Scratch, meaning
from gradshape_bench.report.metric_definitions import METRICS
from tests.bench.spy import measured

RECIPE = Recipe("lr", SGD(0.5), batch_size=32, epochs=4)
FLIPS = LabelFlip(0.2)


def measure(
    tmp_path: Path,
    protocol: GradientDifferences,
    *,
    attack: Attack = FLIPS,
    defense: Defense | None = None,
    recipe: AnyRecipe = RECIPE,
    dataset: str = "digits_38",
) -> Measurement:
    case = Case(
        Task(dataset, recipe), attack, defense or NoDefense(), scale=Scale.PAPER, seeds=(0, 1), protocol=protocol
    )
    return measured(tmp_path, case)


def series(found: Measurement, name: str) -> list[float]:
    values: list[float] = found.details["series"][name]["value"]
    return values


def test_metrics_are_means_over_epochs_of_the_series(tmp_path: Path) -> None:
    found = measure(tmp_path, GradientDifferences())
    for name in ("magnitude_ratio", "cosine_similarity", "train_accuracy_poison", "sample_norm_clean"):
        assert found.metrics[name].value == pytest.approx(math.fsum(series(found, name)) / 4, rel=1e-5)


def test_first_and_last_epoch_are_told(tmp_path: Path) -> None:
    found = measure(tmp_path, GradientDifferences())
    ends = [found.metrics[f"magnitude_ratio_{epoch}_epoch"].value for epoch in ("first", "last")]
    assert ends == pytest.approx([series(found, "magnitude_ratio")[0], series(found, "magnitude_ratio")[-1]], rel=1e-5)


def test_an_epoch_has_a_value_and_an_interval_over_seeds(tmp_path: Path) -> None:
    found = measure(tmp_path, GradientDifferences())
    curves = json.loads(json.dumps(found.details["series"]))
    assert {len(points) for curve in curves.values() for points in curve.values()} == {4}
    for curve in curves.values():
        assert all(
            low <= value <= high for low, value, high in zip(curve["low"], curve["value"], curve["high"], strict=True)
        )


def test_flipped_rows_pull_the_other_way_and_a_placebo_does_not(tmp_path: Path) -> None:
    found = measure(tmp_path, GradientDifferences())
    assert series(found, "cosine_similarity")[0] < -0.5
    assert series(found, "placebo_cosine_similarity")[0] > 0.5


def test_converged_training_counts_rows_whatever_they_are(tmp_path: Path) -> None:
    recipe = Recipe("lr", SGD(1.0, momentum=0.9), batch_size=840, epochs=250)
    protocol = GradientDifferences(weighting=Weighting.SAMPLE)
    found = measure(tmp_path, protocol, recipe=recipe, dataset="two_moons")
    assert found.details["stationary_ratio"] == 5
    assert found.metrics["magnitude_ratio_last_epoch"].value == pytest.approx(5, rel=0.01)
    assert found.metrics["cosine_similarity_last_epoch"].value == pytest.approx(-1, abs=1e-3)


def test_clipped_and_raw_gradients_are_both_told(tmp_path: Path) -> None:
    clipped = measure(tmp_path, GradientDifferences(), defense=GradientShaping(Clip(0.01)))
    assert series(clipped, "magnitude_ratio") != series(clipped, "magnitude_ratio_raw")
    plain = measure(tmp_path, GradientDifferences())
    assert series(plain, "magnitude_ratio") == series(plain, "magnitude_ratio_raw")


def test_one_poison_is_kept_as_an_example(tmp_path: Path) -> None:
    example = measure(tmp_path, GradientDifferences()).details["example"]
    poison = FLIPS(load("digits_38"), seed=0)
    assert example == {
        "label": int(poison.y[0]),
        "shape": [1, 8, 8],
        "pixels": bytes((poison.x[0].flatten() * 255).round().byte().tolist()).hex(),
    }


def test_retraining_begins_where_the_vanilla_training_was_best(tmp_path: Path) -> None:
    scratch = measure(tmp_path, GradientDifferences())
    again = measure(tmp_path, GradientDifferences(Retrained(epochs=2, optimizer=SGD(0.01))))
    assert len(series(again, "magnitude_ratio")) == 2
    assert series(again, "train_accuracy_clean")[0] > 0.9
    assert series(again, "train_accuracy_poison")[0] < 0.1
    assert series(again, "magnitude_ratio")[0] > series(scratch, "magnitude_ratio")[0]
    assert again.details["clean_epochs"] == 4


def test_all_layers_and_biases_are_options(tmp_path: Path) -> None:
    recipe = replace(RECIPE, model="mlp", epochs=1)
    options: list[dict[str, Any]] = [{}, {"layers": Layers.ALL}, {"bias": True}, {"weighting": Weighting.SAMPLE}]
    ratios = {
        measure(tmp_path, GradientDifferences(**chosen), recipe=recipe).metrics["magnitude_ratio"].value
        for chosen in options
    }
    assert len(ratios) == 4


def test_labels_tell_the_options_apart() -> None:
    protocols = [
        GradientDifferences(),
        GradientDifferences(Retrained()),
        GradientDifferences(layers=Layers.ALL),
        GradientDifferences(weighting=Weighting.SAMPLE),
        GradientDifferences(Scratch(), layers=Layers.ALL, weighting=Weighting.SAMPLE, bias=True),
    ]
    assert [protocol.label for protocol in protocols] == [
        "gradients",
        "gradients_retrained",
        "gradients_all_layers",
        "gradients_by_sample",
        "gradients_all_layers_by_sample_with_bias",
    ]
    assert all(map(meaning, ("gradients", "gradients_retrained")))


def test_every_metric_is_defined(tmp_path: Path) -> None:
    names = measure(tmp_path, GradientDifferences()).metrics.keys()
    assert {name for name in names if not name.endswith("_epoch")} <= METRICS.keys()


def test_no_poison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'no_attack' adds no poison: gradients needs some"):
        measure(tmp_path, GradientDifferences(), attack=NoAttack())


def test_an_estimator_has_no_gradients(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'svm_linear' is fitted by an estimator: gradients needs a recipe"):
        measure(tmp_path, GradientDifferences(), recipe=Fit("svm_linear"))


@pytest.mark.parametrize("epochs", [0, -1])
def test_epochs_of_a_retraining_are_positive(epochs: int) -> None:
    with pytest.raises(ValueError, match=f"epochs={epochs}"):
        Retrained(epochs=epochs)
