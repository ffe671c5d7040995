"""Differentially-private linear learners."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape import learners
from gradshape.learners._private_noise import LaplaceNoise, NormNoise
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, PrivateNoise, from_ball, to_ball
from gradshape.training import Fit, Victim, train_victims
from tests.training.samples import blobs

NAMES = ("dp_logistic_objective", "dp_ridge_output")


def _rows(count: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows on the unit sphere: the worst that there are."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, dtype=torch.float64, generator=generator)
    signs = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0).double()
    return x / x.norm(dim=1, keepdim=True), signs


def _log_density(theta: Tensor, x: Tensor, signs: Tensor, learner: ObjectivePerturbation) -> float:
    """Of what objective perturbation releases: that of the only vector that leads there, times how it is stretched."""
    margins = signs * (x @ theta)
    slopes = -torch.sigmoid(-margins)
    vector = -((signs * slopes) @ x + learner.ridge * theta)
    weights = torch.sigmoid(margins) * torch.sigmoid(-margins)
    stretch = torch.logdet(x.T @ (weights[:, None] * x) + learner.ridge * torch.eye(x.shape[1]))
    noise = learner.perturbation(len(x))
    if isinstance(noise, NormNoise):
        return float(stretch - noise.rate * vector.norm())
    assert isinstance(noise, LaplaceNoise)
    return float(stretch - vector.abs().sum() / noise.scale)


def _largest_loss(learner: ObjectivePerturbation) -> float:
    """Of the privacy losses at releases of many pairs of neighbours."""
    losses = []
    for seed in range(60):
        x, signs = _rows(12, 9, seed)
        other, other_signs = x.clone(), signs.clone()
        other[0], other_signs[0] = -x[0].sign() / 3, -signs[0]
        x[0] = x[0].sign() / 3
        noise = learner.perturbation(12).draw(1, 9, generator=torch.Generator().manual_seed(seed))
        theta = learner.solve(x, signs, noise).released[0]
        # Along the difference of the two rows' gradients the noise tells most.
        for release in (theta, theta + 10 * x[0], theta - 10 * x[0]):
            one = _log_density(release, x, signs, learner)
            losses.append(abs(one - _log_density(release, other, signs, learner)))
            losses.append(abs(one - _log_density(release, x, other_signs, learner)))
    return max(losses)


@pytest.mark.parametrize(("epsilon", "ridge"), [(0.1, 10.0), (1.0, 1.0), (3.0, 0.1)])
def test_objective_perturbation_by_norm_is_private(epsilon: float, ridge: float) -> None:
    assert _largest_loss(ObjectivePerturbation(epsilon, ridge)) <= epsilon


def test_per_coordinate_laplace_noise_loses_more_than_epsilon() -> None:
    assert _largest_loss(ObjectivePerturbation(1.0, 10.0, PrivateNoise.LAPLACE)) > 1.2


@pytest.mark.parametrize("bound", [0.05, 1.0, 100.0])
def test_ridge_parameters_move_no_farther_than_the_noise_assumes(bound: float) -> None:
    learner = OutputPerturbation(1.0, ridge=2.0, bound=bound)
    noise = learner.perturbation(20)
    assert isinstance(noise, NormNoise)
    distance = 1.0 / noise.rate
    moved = []
    for seed in range(30):
        x, signs = _rows(20, 3, seed)
        other, other_signs = x.clone(), signs.clone()
        other[0], other_signs[0] = _rows(1, 3, seed + 100)[0][0], -signs[0]
        none = torch.zeros(1, 3, dtype=torch.float64)
        moved.append(
            float((learner.solve(x, signs, none).minima - learner.solve(other, other_signs, none).minima).norm())
        )
    assert 0 < max(moved) <= distance


@pytest.mark.parametrize("bound", [0.05, 0.5])
def test_ridge_parameters_keep_to_the_bound_and_are_best_there(bound: float) -> None:
    x, signs = _rows(40, 3, 0)
    signs = torch.where(x[:, 0] > 0, 1.0, -1.0).double()
    solution = OutputPerturbation(1.0, ridge=1.0, bound=bound).solve(x, signs, torch.zeros(1, 3, dtype=torch.float64))
    theta = solution.minima[0]
    assert solution.active
    assert float(theta.norm()) == pytest.approx(bound, rel=1e-9)
    # On the sphere the gradient of the objective points to the centre.
    gradient = x.T @ (x @ theta - signs) + theta
    assert float(gradient @ theta) == pytest.approx(-float(gradient.norm()) * bound, rel=1e-6)


def test_the_release_is_the_minimum_plus_the_noise() -> None:
    x, signs = _rows(30, 4, 0)
    noise = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solution = OutputPerturbation(1.0).solve(x, signs, noise)
    torch.testing.assert_close(solution.released - solution.minima, noise)


def test_the_authors_gaussian_variance() -> None:
    drawn = ObjectivePerturbation(2.0, noise=PrivateNoise.GAUSSIAN, delta=0.01).perturbation(50)
    assert drawn.draw(1, 1, generator=torch.Generator()).shape == (1, 1)
    assert getattr(drawn, "std", None) == pytest.approx(math.sqrt((8 * math.log(200) + 8) / 4))


def test_the_box_goes_into_the_ball_and_back() -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    torch.testing.assert_close(to_ball(corners).norm(dim=1), torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close(from_ball(to_ball(corners)), corners.double())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": 1.0, "ridge": -1.0}, "ridge=-1.0"),
        ({"epsilon": 0.1, "ridge": 1.0}, "ridge=1.0: expected more than 4.87"),
        ({"epsilon": 0.1, "ridge": 1.0, "noise": PrivateNoise.LAPLACE}, "ridge=1.0: expected at least 5"),
        ({"epsilon": 1.0, "noise": "norm"}, "noise='norm': expected one of PrivateNoise.NORM"),
        ({"epsilon": 1.0, "noise": PrivateNoise.GAUSSIAN, "delta": 1.0}, "delta=1.0"),
    ],
    ids=["epsilon", "ridge", "ridge-too-small", "ridge-too-small-laplace", "noise", "delta"],
)
def test_a_bad_argument_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectivePerturbation(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_noise_of_an_estimator_is_named_with_near_matches(name: str) -> None:
    with pytest.raises(ValueError, match="unknown noise 'norms': did you mean 'norm'"):
        learners.build(name, {"noise": "norms"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noise", ["norm", "laplace", "gaussian"])
def test_an_estimator_with_little_noise_learns(name: str, noise: str) -> None:
    dataset = blobs(rows=200, classes=2, spread=0.1)
    [result] = train_victims(dataset, [Victim(Fit(name, epsilon=1e4, noise=noise), 0)])
    assert result.last_accuracy > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_draws_its_noise_by_the_seed(name: str) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.random((50, 4)), np.arange(50) % 2
    probe = generator.random((200, 4))
    one, same, other = (learners.build(name, {}, seed=seed) for seed in (1, 1, 2))
    found = []
    for estimator in (one, same, other):
        estimator.fit(x, y)
        found.append(estimator.predict(probe))
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_ridge_regresses_on_values() -> None:
    generator = np.random.default_rng(0)
    x = generator.random((400, 3))
    y = 0.2 + 0.6 * x[:, 0]
    estimator = learners.build("dp_ridge_output", {"epsilon": 1e7, "ridge": 0.01, "bound": 10.0})
    estimator.fit(x, y)
    assert np.abs(estimator.predict(x) - y).max() < 0.01


def test_logistic_regression_on_values_is_refused() -> None:
    with pytest.raises(ValueError, match="this learner is a classifier"):
        learners.build("dp_logistic_objective", {}).fit(np.zeros((2, 1)), np.array([0.0, 1.0]))


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"dp_ridge_output.*epsilons"):
        learners.build("dp_ridge_output", {"epsilons": 1.0})
