import math

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.attacks import PoisonFrogs, PoisonSet
from gradshape.attacks.feature_collision._collision import Collided, collide
from gradshape.attacks.feature_collision._nearest import nearest_of_class
from gradshape.attacks.poison_set import Aims
from gradshape.data import Dataset
from gradshape.features import penultimate_features, rows_per_pass
from gradshape.testing.attack import aim
from gradshape.training import Recipe, TrainedModel
from tests.attacks.attacks import DATASETS, FROGS, NETWORKS

BETA = 0.7


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _linear(features: int = 4, values: int = 6) -> Tensor:
    return 2 * _drawn(features, values, seed=9) - 1


def _collided(base: Tensor, goal: Tensor, weight: Tensor, **settings: object) -> Collided:
    given = {"beta": BETA, "steps": 3000, "tolerance": 1e-12, **settings}
    return collide(lambda x: x.flatten(1) @ weight.T, base, goal, **given)  # type: ignore[arg-type]


def test_a_linear_collision_reaches_its_closed_form() -> None:
    weight, base = _linear(), 0.4 + 0.2 * _drawn(5, 6)
    target = base + 0.05 * _drawn(5, 6, seed=1)
    normal = 2 * weight.T @ weight + BETA * torch.eye(6, dtype=torch.float64)
    expected = torch.linalg.solve(normal, (2 * weight.T @ weight @ target.T) + BETA * base.T).T
    assert ((expected > 0) & (expected < 1)).all()  # So that the box changes nothing.
    got = _collided(base, target @ weight.T, weight)
    torch.testing.assert_close(got.x, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(got.distance, ((expected - target) @ weight.T).norm(dim=1), rtol=1e-6, atol=1e-8)


def test_in_the_box_it_ends_where_no_step_changes_anything() -> None:
    weight, base = _linear(), _drawn(5, 6)
    goal = 3 * _drawn(5, 4, seed=2)
    x = _collided(base, goal, weight).x
    slope = 2 * (x @ weight.T - goal) @ weight + BETA * (x - base)
    assert ((x == 0) | (x == 1)).any()
    torch.testing.assert_close((x - 0.01 * slope).clamp(0, 1), x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("half_width", [math.inf, 0.1], ids=["l2", "linf"])
def test_no_objective_ever_rises(half_width: float) -> None:
    net = models.build("mlp", (6,), 3, generator=torch.Generator().manual_seed(0)).double()
    base, goal = _drawn(20, 6), penultimate_features(net, _drawn(1, 6, seed=3))
    history: list[Tensor] = []
    collide(
        lambda x: models.penultimate(net, x),
        base,
        goal,
        beta=0.1,
        half_width=half_width,
        steps=200,
        tolerance=1e-6,
        report=lambda _, values: history.append(values.clone()),
    )
    values = torch.stack(history)
    assert (values[1:] <= values[:-1]).all()
    assert (values[-1] < values[0]).any()


def test_a_large_beta_keeps_the_bases() -> None:
    base = _drawn(5, 6)
    torch.testing.assert_close(_collided(base, 9 * _drawn(5, 4), _linear(), beta=1e9).x, base, rtol=0, atol=1e-6)


def test_the_more_beta_the_nearer_the_base_and_the_farther_the_target() -> None:
    weight, base, goal = _linear(), _drawn(5, 6), _drawn(5, 4, seed=2)
    got = [_collided(base, goal, weight, beta=beta) for beta in (0.01, 0.1, 1, 10)]
    moved = torch.stack([(one.x - base).norm(dim=1) for one in got])
    distance = torch.stack([one.distance for one in got])
    assert (moved[1:] <= moved[:-1] + 1e-7).all()
    assert (distance[1:] >= distance[:-1] - 1e-7).all()


def test_rows_are_collided_as_if_alone() -> None:
    weight, base, goal = _linear(), _drawn(8, 6), _drawn(8, 4, seed=2)
    together = _collided(base, goal, weight)
    for row in range(8):
        one = _collided(base[row : row + 1], goal[row : row + 1], weight)
        torch.testing.assert_close(together.x[row : row + 1], one.x, rtol=0, atol=1e-7)


def test_a_base_that_has_collided_already_stays() -> None:
    weight, base = _linear(), _drawn(3, 6)
    got = _collided(base, base @ weight.T, weight)
    torch.testing.assert_close(got.x, base)
    assert got.steps <= 10
    assert torch.equal(
        _collided(torch.zeros(3, 6).double(), torch.zeros(1, 4).double(), weight).x.norm(), base.sum() * 0
    )


def test_starts_are_clipped_to_the_half_width() -> None:
    weight, base = _linear(), _drawn(5, 6)
    got = _collided(base, _drawn(5, 4), weight, half_width=0.05, start=1 - base, steps=1)
    assert ((got.x - base).abs() <= 0.05 + 1e-12).all()


def _crafted(attack: PoisonFrogs, dataset: Dataset) -> tuple[PoisonSet, Aims]:
    poison = attack(dataset, seed=0, **aim(attack, dataset, targets=4))
    assert poison.aims is not None
    return poison, poison.aims


def _network(dataset: Dataset) -> nn.Module:
    trained: list[TrainedModel] = aim(FROGS[0], dataset)["networks"]
    return trained[0].module(dataset.input_shape, dataset.num_classes)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_poison_is_nearer_to_its_target_than_its_base(dataset: Dataset) -> None:
    poison, aims = _crafted(FROGS[0], dataset)
    network = _network(dataset)
    of_target = penultimate_features(network, dataset.test.x)[aims.target]
    distance = (penultimate_features(network, poison.x) - of_target).norm(dim=1)
    torch.testing.assert_close(distance, aims.distance, rtol=1e-4, atol=1e-5)
    before = (penultimate_features(network, dataset.test.x[aims.base]) - of_target).norm(dim=1)
    assert (distance < before).all()


def test_bases_are_the_nearest_candidates() -> None:
    dataset = DATASETS["pictures"]
    features = penultimate_features(_network(dataset), dataset.test.x)
    _, aims = _crafted(FROGS[0], dataset)
    for place in range(4):
        intended = int((dataset.test.y[place] + 1) % 4)
        rows = (dataset.test.y == intended).nonzero().squeeze(1)
        nearest = (features[rows] - features[place]).norm(dim=1).argsort()[:3]
        assert sorted(aims.base[aims.target == place].tolist()) == sorted(rows[nearest].tolist())


def test_epsilon_bounds_every_value() -> None:
    dataset = DATASETS["pictures"]
    poison, aims = _crafted(PoisonFrogs(3, epsilon=0.07, opacity=0.3, within=math.inf, steps=30), dataset)
    change = (poison.x - dataset.test.x[aims.base]).abs()
    assert change.max() <= 0.07 + 1e-6
    assert change.max() > 0.06


def test_what_is_not_within_the_distance_is_left_out() -> None:
    dataset = DATASETS["pictures"]
    _, everything = _crafted(PoisonFrogs(3, within=math.inf, steps=20), dataset)
    within = float(everything.distance.median())
    _, some = _crafted(PoisonFrogs(3, within=within, steps=20), dataset)
    kept = everything.distance <= within
    assert 0 < len(some.target) < len(everything.target)
    assert torch.equal(some.base, everything.base[kept])
    none, aims = _crafted(PoisonFrogs(3, within=1e-9, steps=1), dataset)
    assert len(none) == len(aims.target) == len(none.against(0)) == 0
    assert none.x.shape == (0, 1, 3, 2)


def test_a_watermark_starts_nearer_to_the_target() -> None:
    dataset = DATASETS["pictures"]
    plain, marked = (_crafted(PoisonFrogs(3, opacity=g, within=math.inf, steps=1), dataset)[1] for g in (0.0, 0.5))
    assert marked.distance.sum() < plain.distance.sum()


def test_any_network_serves_by_the_input_of_its_last_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    dataset = DATASETS["two-classes"]

    class Odd(nn.Module):
        """Neither a Classifier nor with a method of that name."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(7, 2), nn.Linear(5, 7)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(self.first(x).tanh())
            return logits

    name = "odd"
    models.register(name, lambda shape, classes: Odd())
    state = {key: value.detach() for key, value in models.build(name, (5,), 2).named_parameters()}
    network = TrainedModel(Recipe(name, NETWORKS[0].optimizer, batch_size=20, epochs=1), state)
    call = {**aim(FROGS[0], dataset, targets=2), "networks": [network]}
    poison = FROGS[0](dataset, seed=0, **call)
    assert poison.aims is not None
    of_target = penultimate_features(network.module((5,), 2), dataset.test.x)[poison.aims.target]
    assert of_target.shape[1] == 7
    distance = (penultimate_features(network.module((5,), 2), poison.x) - of_target).norm(dim=1)
    torch.testing.assert_close(distance, poison.aims.distance, rtol=1e-4, atol=1e-5)


def test_labels_say_what_differs_from_the_defaults() -> None:
    attacks = [
        PoisonFrogs(),
        PoisonFrogs(5),
        PoisonFrogs(5, beta=1),
        PoisonFrogs(5, epsilon=8 / 255),
        PoisonFrogs(5, opacity=0.3),
        PoisonFrogs(5, within=math.inf),
        PoisonFrogs(5, steps=9),
        PoisonFrogs(5, tolerance=1e-3),
    ]
    assert len({attack.label for attack in attacks}) == len(attacks)
    assert PoisonFrogs(5, epsilon=8 / 255).family == PoisonFrogs(9, epsilon=8 / 255).family == "poison_frogs_linf8"
    assert PoisonFrogs().substitutes == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1.0}, "beta=-1.0"),
        ({"beta": math.inf}, "beta=inf"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": 1.5}, "epsilon=1.5"),
        ({"opacity": 1.0}, r"opacity=1.0: expected a number in \[0, 1\)"),
        ({"within": 0.0}, "within=0.0: expected a number greater than 0"),
        ({"within": math.nan}, "within=nan"),
        ({"steps": 0}, "steps=0"),
        ({"tolerance": -1.0}, "tolerance=-1.0"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoisonFrogs(**settings)  # type: ignore[arg-type]


def test_ties_between_candidates_go_to_the_first() -> None:
    [ids] = nearest_of_class(torch.zeros(1, 5), torch.tensor([1, 0, 1, 1, 1]), torch.tensor([1]), 3)
    assert ids.tolist() == [0, 2, 3]


def test_rows_at_once_follow_from_what_a_network_keeps() -> None:
    small, large = models.build("mlp1", (8, 8), 3), models.build("cnn", (3, 32, 32), 10)
    assert rows_per_pass(small, torch.rand(1, 8, 8)) > 10 * rows_per_pass(large, torch.rand(1, 3, 32, 32)) >= 10
