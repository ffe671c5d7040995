"""Stacks of models agree with each model on its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import per_sample
from gradshape.clipping.ensemble import ModelEnsemble
from tests.clipping.naive import PER_SAMPLE_LOSS, assert_equal, filled, labels, randn

VICTIMS, ROWS, CLASSES = 3, 5, 4


def transformer() -> nn.Module:
    block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Embedding(9, 8), block, nn.Flatten(), nn.Linear(24, CLASSES))


def normalised() -> nn.Module:
    groups, instances = nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2),
        groups,
        nn.Tanh(),
        nn.Conv2d(4, 4, 1),
        instances,
        nn.Flatten(),
        nn.LazyLinear(CLASSES),
    )


def ids(*shape: int) -> Tensor:
    return torch.randint(9, shape, generator=torch.Generator().manual_seed(0))


KINDS = [
    pytest.param(lambda: models.build("lr", (6,), CLASSES), randn, (6,), id="lr"),
    pytest.param(lambda: models.build("mlp1", (2, 3), CLASSES), randn, (2, 3), id="mlp"),
    pytest.param(lambda: models.build("cnn", (3, 6, 5), CLASSES), randn, (3, 6, 5), id="cnn"),
    pytest.param(normalised, randn, (2, 5, 4), id="normalised"),
    pytest.param(transformer, ids, (3,), id="transformer"),
]
of_every_kind = pytest.mark.parametrize(("build", "draw", "shape"), KINDS)


def stack(build: Callable[[], nn.Module], x: Tensor) -> tuple[list[nn.Module], dict[str, Tensor]]:
    victims = []
    for seed in range(VICTIMS):
        model = build().double()
        model(x)  # sizes of lazy layers
        victims.append(filled(model, seed=seed))
    names = dict(victims[0].named_parameters())
    return victims, {name: torch.stack([v.get_parameter(name).detach() for v in victims]) for name in names}


@of_every_kind
@pytest.mark.parametrize("own", [False, True], ids=["shared-rows", "own-rows"])
def test_gradients_are_those_of_every_model_alone(
    build: Callable[[], nn.Module], draw: Callable[..., Tensor], shape: tuple[int, ...], own: bool
) -> None:
    x = draw(VICTIMS, ROWS, *shape) if own else draw(ROWS, *shape)
    y = labels(VICTIMS * ROWS, CLASSES).view(VICTIMS, ROWS) if own else labels(ROWS, CLASSES)
    victims, parameters = stack(build, x[0] if own else x)
    stacked = ModelEnsemble.of(victims[0], x[0] if own else x)
    assert stacked is not None
    gradients = stacked.gradients(parameters, x, y)
    weights = randn(len(gradients.layers), VICTIMS, ROWS, seed=3)
    by_layer, by_sample = gradients.weighted_sum(weights), gradients.weighted_sum(weights[0])
    for k, victim in enumerate(victims):
        alone = per_sample(victim, PER_SAMPLE_LOSS, x[k] if own else x, y[k] if own else y)
        assert gradients.layers == alone.layers
        torch.testing.assert_close(gradients.squares[:, k], alone.squares, rtol=1e-9, atol=1e-12)
        assert_equal({name: total[k] for name, total in by_layer.items()}, alone.weighted_sum(weights[:, k]))
        assert_equal({name: total[k] for name, total in by_sample.items()}, alone.weighted_sum(weights[0, k]))


@of_every_kind
@pytest.mark.parametrize("own", [False, True], ids=["shared-rows", "own-rows"])
def test_logits_are_those_of_every_model_alone(
    build: Callable[[], nn.Module], draw: Callable[..., Tensor], shape: tuple[int, ...], own: bool
) -> None:
    x = draw(VICTIMS, 2, *shape) if own else draw(2, *shape)
    victims, parameters = stack(build, x[0] if own else x)
    stacked = ModelEnsemble.of(victims[0], x[0] if own else x)
    assert stacked is not None
    got = stacked.logits(parameters, x, own=own)
    for k, victim in enumerate(victims):
        torch.testing.assert_close(got[k], victim(x[k] if own else x), rtol=1e-9, atol=1e-9)


def test_formed_gradients_are_not_held_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = randn(ROWS, 3, 6, 5), labels(ROWS, CLASSES)
    victims, parameters = stack(lambda: models.build("cnn", (3, 6, 5), CLASSES), x)
    stacked = ModelEnsemble.of(victims[0], x)
    assert stacked is not None
    expected = stacked.gradients(parameters, x, y)
    monkeypatch.setattr("gradshape.clipping.ensemble._KEPT_ELEMENTS", 0)
    got = stacked.gradients(parameters, x, y)
    weights = randn(VICTIMS, ROWS, seed=3)
    torch.testing.assert_close(got.squares, expected.squares, rtol=1e-9, atol=1e-12)
    assert_equal(got.weighted_sum(weights), expected.weighted_sum(weights))


@pytest.mark.parametrize("victims", [2, 5])
def test_single_precision_does_not_depend_on_the_company(victims: int) -> None:
    x, y = randn(ROWS, 3, 6, 5).float(), labels(ROWS, CLASSES)

    def first(count: int) -> dict[str, Tensor]:
        all_of_them = [
            models.build("cnn", (3, 6, 5), CLASSES, generator=torch.Generator().manual_seed(k)) for k in range(count)
        ]
        names = dict(all_of_them[0].named_parameters())
        parameters = {name: torch.stack([m.get_parameter(name).detach() for m in all_of_them]) for name in names}
        stacked = ModelEnsemble.of(all_of_them[0], x)
        assert stacked is not None
        total = stacked.gradients(parameters, x, y).weighted_sum(torch.ones(count, ROWS))
        return {name: g[0] for name, g in total.items()}

    assert_equal(first(victims), first(1), tolerance=0)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)), id="random-numbers"),
        pytest.param(nn.Sequential(nn.Linear(4, 3), nn.PReLU()), id="a-layer-without-rule"),
        pytest.param(nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 3)), id="buffers"),
        pytest.param(nn.Sequential(*[nn.Linear(4, 4)] * 2), id="one-layer-twice"),
        pytest.param(nn.Flatten(), id="nothing-to-train"),
    ],
)
def test_what_cannot_be_stacked_is_declined(model: nn.Module) -> None:
    assert ModelEnsemble.of(model.double(), randn(2, 4)) is None
