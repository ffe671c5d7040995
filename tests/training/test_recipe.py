"""What a recipe takes for its shaper."""

from dataclasses import replace
from typing import Any

import pytest

from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip, Noise, Normalize, Shaper
from gradshape.training import Adam, Recipe


def _recipe(shaper: object) -> Recipe:
    return Recipe("lr", Adam(0.05), batch_size=20, epochs=1, shaper=shaper)  # type: ignore[arg-type]


def test_a_part_becomes_the_shaper_of_that_part() -> None:
    assert _recipe(Clip(1.0)) == _recipe(Shaper((Clip(1.0),)))
    assert _recipe(Shaper()).with_shaper(Clip(2.0)).shaper.label == "c2"


@pytest.mark.parametrize("other", [None, 1.0, "c1"])
def test_what_is_no_part_is_named(other: object) -> None:
    with pytest.raises(TypeError, match=f"shaper part {other!r}"):
        _recipe(other)


@pytest.mark.parametrize("optimizer", [0.01, "adam", Adam, None])
def test_what_is_no_optimizer_is_refused(optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"^optimizer=.*: expected an optimizer, such as Adam\(0.01\)"):
        Recipe("lr", optimizer, batch_size=3, epochs=1)


def test_what_is_no_sampling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^sampling='poisson': expected one of Sampling.SHUFFLE"):
        Recipe("lr", Adam(0.1), batch_size=3, epochs=1, sampling="poisson")  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [Clip(1.0), Noise(0.1), Normalize()])
def test_a_part_is_taken_wherever_a_shaper_is(part: Any) -> None:
    recipe = Recipe("lr", Adam(0.1), batch_size=3, epochs=1)
    wanted = Shaper((part,))
    assert replace(recipe, shaper=part).shaper == wanted
    assert recipe.with_shaper(part).shaper == wanted
    assert GradientShaping(part).shaper == wanted
    assert Shaper(part) == Shaper([part]) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([Clip(1.0), Noise(0.1)], "join parts by |"),
        (None, "Shaper() does nothing"),
        (Clip, "expected an object, not the class: Clip(...)"),
        (4.0, "expected Noise or an object with label and weights(norms)"),
    ],
)
def test_what_is_no_part_is_explained(given: Any, told: str) -> None:
    for take in (lambda: Recipe("lr", Adam(0.1), batch_size=3, epochs=1, shaper=given), lambda: GradientShaping(given)):
        with pytest.raises(TypeError, match=r"^shaper part ") as error:
            take()
        assert told in str(error.value)
