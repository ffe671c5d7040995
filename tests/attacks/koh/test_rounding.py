"""Rows of whole multiples of a unit, inside a sphere and slab."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradshape.attacks import KohInfluence, KohKkt, KohMinMax
from gradshape.attacks.koh._rounding import round_inside
from gradshape.constraints import SphereSlab


def wide(width: int) -> SphereSlab:
    """A set that holds every corner of the box."""
    centre = torch.full((width,), 0.5, dtype=torch.float64)
    return SphereSlab(centre, float(width), torch.zeros_like(centre), half_width=0.0)


@given(levels=st.integers(1, 9), width=st.integers(1, 6), seed=st.integers(0, 1000))
def test_every_row_is_of_whole_multiples_next_to_the_values(levels: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(width, dtype=torch.float64, generator=generator)
    rows = round_inside(x, 5, inside=wide(width), levels=levels, generator=generator) * levels
    assert torch.allclose(rows, rows.round(), atol=1e-9)
    assert ((rows - x * levels).abs() <= 1 + 1e-9).all()


def test_rounding_is_without_bias() -> None:
    x = torch.tensor([0.1, 0.45, 0.8, 0.25], dtype=torch.float64)
    rows = round_inside(x, 4000, inside=wide(4), levels=4, generator=torch.Generator().manual_seed(0))
    # The largest standard deviation of a mean is 0.5 / 4 / sqrt(4000).
    assert (rows.mean(0) - x).abs().max() < 5 * 0.125 / 4000**0.5


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_inside_even_where_the_row_is_on_the_edge(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean = (torch.rand(200, 50, dtype=torch.float64, generator=generator) < 0.2).double()
    inside = SphereSlab.around(clean, opposite=torch.zeros(50).double(), quantile=0.9, boxed=True)
    edge = inside.maximise(torch.randn(1, 50, dtype=torch.float64, generator=generator)).x[0]
    rows = round_inside(edge, 30, inside=inside, levels=1, generator=generator)
    assert rows.shape == (30, 50)
    assert set(rows.unique().tolist()) <= {0.0, 1.0}
    assert inside.contains(rows).all()


def test_where_nothing_whole_is_inside_the_centroid_is_rounded() -> None:
    centre = torch.full((3,), 0.5, dtype=torch.float64)
    tight = SphereSlab(centre, 0.1, torch.zeros_like(centre), half_width=0.0)
    rows = round_inside(centre, 2, inside=tight, levels=1, generator=torch.Generator().manual_seed(0))
    assert rows.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("attack", [KohInfluence, KohKkt, KohMinMax])
def test_no_levels_are_refused_by_name(attack: type[KohKkt]) -> None:
    with pytest.raises(ValueError, match="levels=0"):
        attack(0.03, levels=0)
