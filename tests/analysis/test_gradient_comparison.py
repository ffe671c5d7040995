"""Ratios and angles between gradients, and what they are where a training has converged."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradshape.analysis import (
    Division,
    cosine_similarity,
    gradient_differences,
    magnitude_ratio,
    mean_over_epochs,
    spread_over_epochs,
    stationary_ratio,
)
from gradshape.attacks import LabelFlip
from gradshape.data import Split
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, GradientProbe, Layers, Recipe, SubsetGradients, Victim, Weighting, train_victims
from tests.training.samples import blobs

DATA = blobs(rows=120, spread=0.4)
FLIPS = LabelFlip(0.4)(DATA, seed=0)
vectors = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))


def train(recipe: Recipe, layers: Layers = Layers.LAST) -> SubsetGradients:
    victim = Victim(recipe, 1, private=Split(FLIPS.x, FLIPS.y), probe=GradientProbe(layers))
    [result] = train_victims(DATA, [victim], dtype=torch.float64)
    assert result.gradients is not None
    return result.gradients


@pytest.fixture(scope="module")
def converged() -> SubsetGradients:
    """Logistic regression, in full batches, on data that no line separates."""
    return train(Recipe("lr", SGD(2.0, momentum=0.9), batch_size=1000, epochs=400))


@pytest.fixture(scope="module")
def clipped() -> SubsetGradients:
    recipe = Recipe("lr", SGD(4.0, momentum=0.9), batch_size=1000, epochs=400, shaper=Shaper((Clip(0.3),)))
    return train(recipe)


@pytest.fixture(scope="module")
def measured() -> SubsetGradients:
    return train(Recipe("mlp1", SGD(0.1), batch_size=30, epochs=3, shaper=Shaper((Clip(0.5),))), Layers.ALL)


@pytest.mark.parametrize("division", Division)
@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize("bias", [False, True])
def test_a_converged_linear_model_counts_rows(
    converged: SubsetGradients, division: Division, weighting: Weighting, bias: bool
) -> None:
    found = gradient_differences(converged, division, weighting=weighting, bias=bias)
    ratio, cosine = found.ratio[-1], found.cosine[-1]
    assert ratio == pytest.approx(stationary_ratio(120, 48), rel=0.01)
    assert cosine == pytest.approx(-1, abs=1e-4)


def test_where_a_training_began_it_does_not_count_rows(converged: SubsetGradients) -> None:
    assert gradient_differences(converged).ratio[0] != pytest.approx(stationary_ratio(120, 48), rel=0.01)


@pytest.mark.parametrize("division", Division)
def test_clipped_training_counts_rows_by_clipped_gradients_only(clipped: SubsetGradients, division: Division) -> None:
    shaped, raw = (gradient_differences(clipped, division, shaped=which) for which in (True, False))
    assert shaped.ratio[-1] == pytest.approx(stationary_ratio(120, 48), rel=0.01)
    assert shaped.cosine[-1] == pytest.approx(-1, abs=1e-3)
    assert raw.ratio[-1] != pytest.approx(stationary_ratio(120, 48), rel=0.1)


@pytest.mark.parametrize("division", Division)
@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layers", Layers)
def test_choices_pick_their_inner_products(
    measured: SubsetGradients, division: Division, shaped: bool, weighting: Weighting, bias: bool, layers: Layers
) -> None:
    found = gradient_differences(measured, division, shaped=shaped, weighting=weighting, bias=bias, layers=layers)
    one, other = {Division.POISON: (1, 0), Division.PLACEBO: (2, 3)}[division]
    first = 2 if layers is Layers.LAST else 0
    chosen = [place for place in range(first, 4) if bias or place % 2 == 0]
    for epoch in range(3):
        whole = (measured.shaped if shaped else measured.raw)[epoch, list(Weighting).index(weighting)]
        p, c, common = (
            sum(float(whole[k, i, j]) for k in chosen) for i, j in ((one, one), (other, other), (one, other))
        )
        assert found.ratio[epoch] == pytest.approx(math.sqrt(p / c), rel=1e-12)
        assert found.cosine[epoch] == pytest.approx(common / math.sqrt(p * c), rel=1e-12)


def test_defaults_are_those_of_the_papers_code(measured: SubsetGradients) -> None:
    expected = gradient_differences(
        measured, Division.POISON, shaped=False, weighting=Weighting.BATCH, layers=Layers.LAST, bias=False
    )
    assert gradient_differences(measured) == expected


def test_all_layers_have_to_be_measured(converged: SubsetGradients) -> None:
    with pytest.raises(ValueError, match=r"layers=Layers.ALL: .* use GradientProbe\(Layers.ALL\)"):
        gradient_differences(converged, layers=Layers.ALL)


def test_a_layer_of_a_bias_only_needs_it(converged: SubsetGradients) -> None:
    only = replace(converged, parameters=("head.bias",), raw=converged.raw[:, :, 1:])
    with pytest.raises(ValueError, match=r"bias=False: no parameter is left of \['head.bias'\]"):
        gradient_differences(only)
    assert gradient_differences(only, bias=True).ratio[-1] is not None


@pytest.mark.parametrize(
    ("poison", "clean", "common", "expected"),
    [
        (4.0, 1.0, -2.0, (2.0, -1.0)),
        (0.0, 1.0, 0.0, (0.0, None)),
        (1.0, 0.0, 0.0, (None, None)),
        (0.0, 0.0, 0.0, (None, None)),
        (math.nan, 1.0, math.nan, (None, None)),
        (1.0, math.nan, math.nan, (None, None)),
        (math.inf, 1.0, math.nan, (None, None)),
        (1e-200, 1e-200, 1e-200, (1.0, 1.0)),
        (1e300, 1e300, -1e300, (1.0, -1.0)),
        (1.0, 1.0, -1.0000001, (1.0, -1.0)),
    ],
)
def test_what_is_not_known_is_none(
    poison: float, clean: float, common: float, expected: tuple[float | None, float | None]
) -> None:
    products = torch.zeros(1, 2, 1, 4, 4, dtype=torch.float64)
    products[..., 1, 1], products[..., 0, 0] = poison, clean
    products[..., 0, 1] = products[..., 1, 0] = common
    none = torch.zeros(1, 4)
    found = gradient_differences(
        SubsetGradients(Layers.LAST, ("head.weight",), products, products, none, none, none, none, None)
    )
    assert (found.ratio, found.cosine) == ((expected[0],), (expected[1],))


@settings(deadline=None)
@given(vectors, vectors)
def test_ratio_and_cosine_are_those_of_the_definitions(poison: Tensor, clean: Tensor) -> None:
    ratio, cosine = magnitude_ratio(poison, clean), cosine_similarity(poison, clean)
    p, c = math.hypot(*poison.tolist()), math.hypot(*clean.tolist())
    if not c or c * c < 1e-300:
        return
    assert ratio == pytest.approx(p / c, rel=1e-6, abs=1e-9)
    if p * p > 1e-300:
        assert cosine is not None
        assert -1 <= cosine <= 1
        assert cosine == pytest.approx(float(poison / p @ (clean / c)), abs=1e-6)


@settings(deadline=None)
@given(vectors, st.floats(0.01, 100))
def test_a_multiple_has_its_factor_as_ratio_and_no_angle(clean: Tensor, factor: float) -> None:
    if clean.norm() < 1e-3:
        return
    assert magnitude_ratio(factor * clean, clean) == pytest.approx(factor, rel=1e-9)
    assert cosine_similarity(factor * clean, clean) == pytest.approx(1, abs=1e-9)
    assert cosine_similarity(-factor * clean, clean) == pytest.approx(-1, abs=1e-9)


def test_gradients_of_any_shape_are_flattened() -> None:
    assert magnitude_ratio(torch.full((2, 2), 3.0), torch.ones(2, 2)) == 3


@pytest.mark.parametrize("function", [magnitude_ratio, cosine_similarity])
def test_gradients_of_different_shapes_are_refused(function: type) -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        function(torch.ones(2), torch.ones(3))


def test_means_leave_out_what_is_not_known() -> None:
    assert mean_over_epochs([1.0, None, 2.0]) == 1.5
    assert spread_over_epochs([-0.5, None, 0.5]) == 0.5


@pytest.mark.parametrize("statistic", [mean_over_epochs, spread_over_epochs])
def test_nothing_known_has_neither_mean_nor_spread(statistic: Callable[[list[None]], float | None]) -> None:
    assert statistic([None, None]) is None
    assert statistic([]) is None


@pytest.mark.parametrize(
    ("clean", "poison", "name"), [(0, 1, "clean_rows"), (1, 0, "poison_rows"), (1, -1, "poison_rows")]
)
def test_a_stationary_ratio_needs_rows_on_both_sides(clean: int, poison: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        stationary_ratio(clean, poison)
