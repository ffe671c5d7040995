"""What a recipe takes for its shaper."""

import pytest

from gradshape.shaping import Clip, Shaper
from gradshape.training import Adam, Recipe


def _recipe(shaper: object) -> Recipe:
    return Recipe("lr", Adam(0.05), batch_size=20, epochs=1, shaper=shaper)  # type: ignore[arg-type]


def test_a_part_becomes_the_shaper_of_that_part() -> None:
    assert _recipe(Clip(1.0)) == _recipe(Shaper((Clip(1.0),)))
    assert _recipe(Shaper()).with_shaper(Clip(2.0)).shaper.label == "c2"  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [None, 1.0, "c1"])
def test_what_is_no_part_is_named(other: object) -> None:
    with pytest.raises(TypeError, match=f"shaper part {other!r}"):
        _recipe(other)
