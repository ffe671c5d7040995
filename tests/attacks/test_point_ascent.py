"""Projected gradient ascent of poison points."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradshape.attacks._point_ascent import add_best, climb

Surface = Callable[[Tensor], Tensor]


class Landscape:
    """A loss of one point, without a learner."""

    def __init__(self, surface: Surface, start: list[float]) -> None:
        self.surface = surface
        self.visited: list[Tensor] = []
        self.move(0, torch.tensor(start).double())

    def add(self, row: Tensor, label: int, weight: float) -> None:
        self.move(0, row)

    def at(self, point: int) -> Tensor:
        return self.row

    def move(self, point: int, row: Tensor) -> None:
        self.row = row
        self.loss = float(self.surface(row))
        self.visited.append(row)

    def gradient(self, point: int) -> Tensor:
        row = self.row.clone().requires_grad_()
        [gradient] = torch.autograd.grad(self.surface(row), row)
        return gradient


def _hill(row: Tensor) -> Tensor:
    return -(row - torch.tensor([0.3, 0.6]).double()).square().sum()


def _terrace(row: Tensor) -> Tensor:
    """Flat between 0.3 and 0.6."""
    return row[0].clamp_max(0.3) + (row[0] - 0.6).clamp_min(0) + 0 * row[1]


@pytest.mark.parametrize("step", [0.01, 0.3, 1.0])
def test_it_finds_the_top_of_a_hill(step: float) -> None:
    hill = Landscape(_hill, [1.0, 0.0])
    climb(hill, 0, step=step, steps=300, tolerance=1e-12)
    assert hill.loss > -1e-2


def test_it_follows_the_wall_of_the_box_to_its_corner() -> None:
    slope = Landscape(lambda row: 5 * row[0] + row[1], [0.9, 0.0])
    climb(slope, 0, step=0.2, steps=50, tolerance=0.0)
    assert slope.row.tolist() == [1, 1]
    assert all(((row >= 0) & (row <= 1)).all() for row in slope.visited)


def test_it_never_ends_lower_than_it_began() -> None:
    for steps in range(1, 12):
        waves = Landscape(lambda row: (row * 37).sin().sum(), [0.11, 0.47])
        before = waves.loss
        climb(waves, 0, step=1.0, steps=steps, tolerance=0.0)
        assert waves.loss >= before
        assert waves.loss == float(waves.surface(waves.row))


def test_a_plateau_is_crossed_in_the_last_direction() -> None:
    terrace = Landscape(_terrace, [0.1, 0.5])
    climb(terrace, 0, step=0.05, steps=40, tolerance=0.0)
    assert terrace.row[0] == 1


@pytest.mark.parametrize(("direction", "ends"), [(None, 0.4), ([1.0, 0.0], 1.0)], ids=["none", "given"])
def test_from_a_plateau_it_goes_where_it_is_told(direction: list[float] | None, ends: float) -> None:
    terrace = Landscape(_terrace, [0.4, 0.5])
    told = None if direction is None else torch.tensor(direction).double()
    climb(terrace, 0, step=0.05, steps=40, tolerance=0.0, direction=told)
    assert float(terrace.row[0]) == pytest.approx(ends)


def test_gains_below_the_tolerance_are_not_pursued() -> None:
    hill = Landscape(_hill, [0.31, 0.6])
    climb(hill, 0, step=0.01, steps=40, tolerance=0.1)
    assert hill.row.tolist() == pytest.approx([0.31, 0.6])


def test_the_best_start_is_added() -> None:
    hill = Landscape(_hill, [0.0, 0.0])
    rows = torch.tensor([[0.9, 0.9], [0.3, 0.5], [0.0, 1.0]]).double()
    assert add_best(hill, rows, 1, 1.0) == 1
    assert torch.equal(hill.row, rows[1])
