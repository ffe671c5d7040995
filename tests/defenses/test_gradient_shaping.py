"""Gradient shaping with a learning rate of its own."""

import math

import pytest

from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip
from gradshape.training import SGD, Adam, Optimizer, Recipe


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.04)])
def test_the_learning_rate_is_a_multiple_of_the_undefended_one(optimizer: Optimizer) -> None:
    recipe = Recipe("lr", optimizer, batch_size=10, epochs=2)
    once, twice = (GradientShaping(Clip(4), rate=rate).shape(recipe) for rate in (1, 2))
    assert once.optimizer == optimizer
    assert twice.optimizer.lr == 2 * optimizer.lr
    assert twice.shaper == once.shaper
    assert type(twice.optimizer) is type(optimizer)


@pytest.mark.parametrize(("rate", "label"), [(1, "dp_adam_c4"), (2, "dp_adam_c4_x2"), (0.5, "dp_adam_c4_x0.5")])
def test_a_label_tells_another_learning_rate(rate: float, label: str) -> None:
    recipe = Recipe("lr", Adam(0.04), batch_size=10, epochs=2)
    assert GradientShaping(Clip(4), rate=rate).label_for(recipe) == label


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate={rate}"):
        GradientShaping(Clip(4), rate=rate)
