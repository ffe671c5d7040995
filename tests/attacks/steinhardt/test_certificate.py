"""The game of learner and attacker, and what it proves."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from gradshape.attacks.steinhardt._certificate import Certificate, certify, worst_case
from gradshape.constraints import FeasibleSets
from gradshape.learners.hinge import fit_hinge, hinge_losses, signed_rows


def _clean(seed: int, *, rows: int = 30, width: int = 3, apart: float = 0.3) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 2
    shift = apart * (y[:, None] - 0.5)
    x = (0.5 + shift + 0.25 * torch.randn(rows, width, generator=generator)).clamp(0, 1).double()
    return x, y, generator


def _reached(x: Tensor, y: Tensor, poison: Tensor, labels: Tensor, eps: float, rho: float) -> float:
    """Least hinge loss a clean row on the clean rows and ``eps`` times the poison."""
    weights = torch.cat([torch.full((len(x),), 1 / len(x)), torch.full((len(poison),), eps / len(poison))]).double()
    return fit_hinge(torch.cat([x, poison]), torch.cat([y, labels]), rho=rho, weights=weights).objective


def _on_the_edge(sets: FeasibleSets, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.randint(2, (8,), generator=generator)
    return sets.project(3 * torch.randn(8, width, generator=generator).double(), labels), labels


@pytest.mark.parametrize("seed", range(60))
def test_no_poison_contradicts_the_certificate(seed: int) -> None:
    x, y, generator = _clean(seed, rows=12 + seed % 9, width=2 + seed % 3)
    sets = FeasibleSets.from_rows(x, y, quantile=0.5 + 0.05 * (seed % 10), boxed=seed % 10 == 0)
    eps, rho = 0.05 + float(torch.rand(1, generator=generator)), 0.3 + 2 * float(torch.rand(1, generator=generator))
    game = certify(x, y, sets=sets, eps=torch.tensor([eps]), rho=rho, steps=20)
    assert sets.contains(game.x[0], game.y[0]).all()
    played = (game.x[0], game.y[0])
    for poison, labels in (played, _on_the_edge(sets, x.shape[1], generator)):
        assert _reached(x, y, poison, labels, eps, rho) <= float(game.bound) + 1e-5


@pytest.mark.parametrize("boxed", [False, True])
def test_bound_and_floor_enclose_what_the_rows_played_cause(boxed: bool) -> None:
    x, y, _ = _clean(1, rows=100, width=20)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7, boxed=boxed)
    eps = torch.tensor([0.1, 0.3])
    game = certify(x, y, sets=sets, eps=eps, rho=1.5, steps=100)
    for k in range(2):
        reached = _reached(x, y, game.x[k], game.y[k], float(eps[k]), 1.5)
        assert float(game.floor[k]) <= reached + 1e-6
        assert reached <= float(game.bound[k]) + 1e-6
        assert float(game.bound[k]) - reached < 0.01


@pytest.mark.parametrize("boxed", [False, True])
def test_the_worst_row_is_as_bad_as_the_bound_and_no_row_is_worse(boxed: bool) -> None:
    x, y, generator = _clean(2)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7, boxed=boxed)
    theta = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    worst = worst_case(signed_rows(x, y), theta, sets=sets, eps=torch.full((6,), 0.3))
    assert sets.contains(worst.x, worst.y).all()
    drawn = torch.rand(4000, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(2, (4000,), generator=generator)
    inside = sets.contains(drawn, labels, tolerance=0)
    for k, (w, b) in enumerate(zip(theta[:, :-1], theta[:, -1], strict=True)):
        clean = float(hinge_losses(x, y, w, float(b)).mean())
        own = float(hinge_losses(worst.x[k : k + 1], worst.y[k : k + 1], w, float(b)))
        assert float(worst.risk[k]) == pytest.approx(clean + 0.3 * own)
        assert float(worst.bound[k]) == pytest.approx(clean + 0.3 * own, abs=1e-6)
        others = float(hinge_losses(drawn[inside], labels[inside], w, float(b)).max())
        assert clean + 0.3 * others <= float(worst.bound[k]) + 1e-9


def test_the_gradient_is_that_of_a_tangent() -> None:
    x, y, generator = _clean(3)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7)
    theta, elsewhere = (torch.randn(40, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    eps = torch.full((40,), 0.4)
    here, there = (worst_case(signed_rows(x, y), at, sets=sets, eps=eps) for at in (theta, elsewhere))
    assert bool((there.risk >= here.risk + (here.gradient * (elsewhere - theta)).sum(1) - 1e-9).all())
    near = worst_case(signed_rows(x, y), theta + 1e-7 * (elsewhere - theta), sets=sets, eps=eps)
    slope = (near.risk - here.risk) / 1e-7
    assert torch.allclose(slope, (here.gradient * (elsewhere - theta)).sum(1), rtol=1e-4, atol=1e-4)


SHARES = (0.0, 0.05, 0.2, 0.6)


@cache
def _games(quantile: float, *, eps: tuple[float, ...] = SHARES) -> Certificate:
    x, y, _ = _clean(4, rows=60)
    sets = FeasibleSets.from_rows(x, y, quantile=quantile, boxed=True)
    return certify(x, y, sets=sets, eps=torch.tensor(eps), rho=1.0, steps=100)


def test_the_bound_grows_with_the_share_of_poison() -> None:
    bounds = _games(0.7).bound
    assert bool((bounds[1:] > bounds[:-1]).all())


def test_the_bound_grows_with_the_sets() -> None:
    narrow, middle, wide = (_games(quantile).bound for quantile in (0.3, 0.7, 1.0))
    assert bool((narrow[1:] < middle[1:]).all())
    assert bool((middle[1:] < wide[1:]).all())


def test_without_poison_the_bound_is_at_least_the_clean_optimum_and_near_it() -> None:
    x, y, _ = _clean(4, rows=60)
    clean = fit_hinge(x, y, rho=1.0)
    bound = float(_games(0.7).bound[0])
    assert clean.lower <= bound <= clean.objective + 0.01


def test_the_classifier_that_is_returned_proves_the_bound() -> None:
    x, y, _ = _clean(4, rows=60)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7, boxed=True)
    game = _games(0.7)
    again = worst_case(signed_rows(x, y), game.theta, sets=sets, eps=torch.tensor(SHARES))
    assert torch.allclose(again.bound, game.bound, rtol=0, atol=1e-9)
    assert bool((game.theta.norm(dim=1) <= 1.0 + 1e-9).all())


def test_games_together_are_as_games_alone() -> None:
    together, alone = _games(0.7), _games(0.7, eps=(0.2,))
    assert torch.allclose(together.bounds[2], alone.bounds[0], rtol=0, atol=1e-6)
    assert torch.allclose(together.x[2], alone.x[0], rtol=0, atol=1e-4)


def test_a_game_ends_when_bound_and_floor_meet() -> None:
    x, y, _ = _clean(5)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7)
    game = certify(x, y, sets=sets, eps=torch.tensor([0.1]), rho=0.5, steps=5000, tolerance=0.05)
    assert game.bounds.shape[1] < 5000
    assert float(game.bound - game.floor) <= 0.05


def test_progress_is_told() -> None:
    x, y, _ = _clean(6)
    told: list[tuple[int, int, float]] = []
    sets = FeasibleSets.from_rows(x, y, quantile=0.7)
    game = certify(
        x, y, sets=sets, eps=torch.tensor([0.1]), rho=1.0, steps=100, tolerance=0.0, report=lambda *a: told.append(a)
    )
    assert [step for step, _, _ in told] == [50, 100]
    assert told[-1][2] == pytest.approx(float(game.bound))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rho", 0.0),
        ("eta", -1.0),
        ("steps", 0),
        ("tolerance", -1.0),
        ("eps", torch.tensor([-0.1])),
        ("eps", torch.zeros(0)),
    ],
    ids=["rho", "eta", "steps", "tolerance", "negative-eps", "no-eps"],
)
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    x, y, _ = _clean(7)
    sets = FeasibleSets.from_rows(x, y, quantile=0.7)
    arguments = {"eps": torch.tensor([0.1]), "rho": 1.0, name: value}
    with pytest.raises(ValueError, match=f"{name}="):
        certify(x, y, sets=sets, **arguments)  # type: ignore[arg-type]


def test_a_share_that_is_not_a_number_is_named() -> None:
    x, y, _ = _clean(7)
    with pytest.raises(ValueError, match="eps="):
        certify(x, y, sets=FeasibleSets.from_rows(x, y, quantile=0.7), eps=torch.tensor([math.nan]), rho=1.0)
