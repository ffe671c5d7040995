"""Convex Polytope and Bullseye Polytope."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gradshape.attacks import BullseyePolytope, ConvexPolytope
from gradshape.attacks.feature_collision._polytope import PolytopeAttack, combined_distance
from gradshape.data import Dataset, load
from gradshape.features import penultimate_features
from gradshape.testing.attack import aim
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims
from tests.attacks.attacks import DATASETS, NETWORKS, POLYTOPES

DATA = DATASETS["pictures"]
each_attack = pytest.mark.parametrize("attack", POLYTOPES, ids=lambda attack: attack.label)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _relative(features: Tensor, coefficients: Tensor, goal: Tensor) -> Tensor:
    relative: Tensor = combined_distance(features, coefficients, goal) / goal.norm(dim=1)
    return relative


def test_bullseye_is_the_convex_polytope_with_equal_coefficients_up_to_the_square() -> None:
    convex, bullseye = ConvexPolytope(substitutes=NETWORKS), BullseyePolytope(substitutes=NETWORKS)
    features, goal = _normal(6, 5, 9), _normal(6, 9, seed=1)
    uniform = bullseye.coefficients(features, goal, None)
    torch.testing.assert_close(uniform, torch.full((6, 5), 0.2).double())
    residual = _relative(features, uniform, goal)
    torch.testing.assert_close(convex.loss(residual), bullseye.loss(residual) ** 2 / 2)
    expected = (goal - features.mean(1)).square().sum(1) / (2 * goal.square().sum(1))
    torch.testing.assert_close(convex.loss(residual), expected)


def test_solved_coefficients_are_no_worse_than_equal_ones() -> None:
    convex = ConvexPolytope(substitutes=NETWORKS)
    features, goal = _normal(6, 5, 9), _normal(6, 9, seed=1)
    solved = convex.coefficients(features, goal, None)
    assert (solved >= 0).all()
    torch.testing.assert_close(solved.sum(1), torch.ones(6).double())
    uniform = torch.full_like(solved, 0.2)
    assert (_relative(features, solved, goal) <= _relative(features, uniform, goal) + 1e-9).all()


def test_for_linear_features_bullseye_pulls_every_poison_alike() -> None:
    bullseye, weight, goal = BullseyePolytope(substitutes=NETWORKS), _normal(4, 6), _normal(3, 4)
    x = _normal(3, 5, 6, seed=2).requires_grad_()
    features = x @ weight.T
    total = bullseye.loss(_relative(features, bullseye.coefficients(features, goal, None), goal)).sum()
    (slope,) = torch.autograd.grad(total, x)
    torch.testing.assert_close(slope, slope[:, :1].expand_as(slope))


@each_attack
def test_poison_stays_in_the_ball_and_the_box(attack: PolytopeAttack) -> None:
    poison = attack(DATA, seed=0, **aim(attack, DATA, targets=4))
    assert poison.aims is not None
    change = (poison.x - DATA.test.x[poison.aims.base]).abs()
    assert 0 < change.max() <= attack.epsilon + 1e-6
    assert ((poison.x >= 0) & (poison.x <= 1)).all()


@each_attack
def test_the_distance_is_that_of_the_combination_and_less_than_before(attack: PolytopeAttack) -> None:
    call = aim(attack, DATA, targets=4)
    poison = attack(DATA, seed=0, **call)
    networks = [network.module(DATA.input_shape, DATA.num_classes) for network in call["networks"]]
    assert poison.aims is not None
    assert attack.joint
    for place in range(4):
        mine = poison.against(place)
        assert mine.aims is not None
        assert len(mine.aims.distance.unique()) == 1
        goal = call["target"].x[place : place + 1]
        after = torch.stack([_away(attack, network, mine.x, goal) for network in networks]).mean()
        before = torch.stack([_away(attack, network, DATA.test.x[mine.aims.base], goal) for network in networks])
        torch.testing.assert_close(mine.aims.distance[0], after, rtol=1e-2, atol=1e-3)
        assert after < before.mean()


def _away(attack: PolytopeAttack, network: nn.Module, x: Tensor, goal: Tensor) -> Tensor:
    features, goal = penultimate_features(network, x)[None], penultimate_features(network, goal)
    start = attack.coefficients(features, goal, None)
    for _ in range(20):
        start = attack.coefficients(features, goal, start)
    return combined_distance(features, start, goal)[0]


@each_attack
def test_more_steps_never_make_it_worse(attack: PolytopeAttack) -> None:
    losses = []
    for steps in (1, 10, 40):
        reports: list[float] = []
        more = replace(attack, steps=steps)
        more(DATA, seed=0, progress=lambda of, r=reports: r.append(of.objective), **aim(attack, DATA, targets=3))  # type: ignore[misc]
        assert reports == sorted(reports)
        losses.append(-reports[-1])
    assert losses[0] > losses[1] >= losses[2]


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, list[TrainedModel], TrainedModel]:
    """Digits, two substitutes and a victim that differs from both in its weights and one of them in its form."""
    dataset = load("digits")
    recipes = [Recipe(model, SGD(0.2), batch_size=50, epochs=10) for model in ("mlp1", "mlp", "mlp1")]
    results = train_victims(dataset, [Victim(recipe, seed) for seed, recipe in enumerate(recipes)])
    trained = []
    for recipe, result in zip(recipes, results, strict=True):
        assert result.last is not None
        trained.append(TrainedModel(recipe, result.last))
    return dataset, trained[:2], trained[2]


@pytest.mark.parametrize("kind", [ConvexPolytope, BullseyePolytope])
def test_poison_carries_over_to_a_network_that_it_was_not_crafted_on(
    kind: type[PolytopeAttack], digits: tuple[Dataset, list[TrainedModel], TrainedModel]
) -> None:
    dataset, substitutes, victim = digits
    places = (dataset.test.y == 3).nonzero().squeeze(1)[:10]
    attack = kind(substitutes=tuple(network.recipe for network in substitutes), epsilon=0.2, steps=60)
    poison = attack(
        dataset,
        seed=0,
        target=replace(dataset.test, x=dataset.test.x[places], y=dataset.test.y[places]),
        intended=torch.full((10,), 8),
        networks=substitutes,
    )
    assert poison.aims is not None
    unseen = victim.module(dataset.input_shape, dataset.num_classes)
    goal = penultimate_features(unseen, dataset.test.x[places])
    of_poison, of_bases = (
        penultimate_features(unseen, x).unflatten(0, (10, 5)).mean(1)
        for x in (poison.x, dataset.test.x[poison.aims.base])
    )
    nearer = (of_poison - goal).norm(dim=1) / (of_bases - goal).norm(dim=1)
    assert nearer.mean() < 0.8
    assert (nearer < 1).double().mean() >= 0.9


def test_labels_say_what_differs_from_the_defaults() -> None:
    attacks = [
        kind(substitutes=substitutes, **settings)
        for kind in (ConvexPolytope, BullseyePolytope)
        for substitutes in (NETWORKS, NETWORKS[:1])
        for settings in ({}, {"poisons": 9}, {"epsilon": 0.2}, {"steps": 9}, {"rate": 0.1})
    ]
    assert len({attack.label for attack in attacks}) == len(attacks)
    assert ConvexPolytope(substitutes=NETWORKS).label == "convex_polytope_mlp1-lr_5"


@pytest.mark.parametrize("kind", [ConvexPolytope, BullseyePolytope])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"substitutes": ()}, r"substitutes=\(\): expected at least 1 recipe"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": 1.1}, "epsilon=1.1"),
        ({"steps": 0}, "steps=0"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"poisons": 0}, "poisons=0"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(
    kind: type[PolytopeAttack], settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{"substitutes": NETWORKS, **settings})  # type: ignore[arg-type]
