"""Trainings take the gradients of registered models as exactly as they are taken by hand, together or one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import clipped_gradient, per_sample
from gradshape.clipping.ensemble import ModelEnsemble
from gradshape.data import Dataset, Split
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Recipe, TrainingResult, Victim, train_victims
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, norm, per_sample_gradients, randn

CLASSES = 3


class Body(nn.Module):
    """Three layers and what is done to the rows between them."""

    def __init__(self, run: Callable[["Body", Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 5)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x.flatten(1))


def swapped(h: Tensor) -> Tensor:
    """Exchange the rows that stand beside each other; a last one stays."""
    pairs = [h[i : i + 2].flip(0) for i in range(0, len(h), 2)]
    return torch.cat(pairs)


def exact(m: Body, x: Tensor) -> Tensor:
    out: Tensor = m.b(m.a(x).tanh()).tanh()
    return out


def reordered(m: Body, x: Tensor) -> Tensor:
    return swapped(m.b(swapped(m.a(x)).tanh()).tanh())


def reordered_where_there_are_many(m: Body, x: Tensor) -> Tensor:
    return reordered(m, x) if len(x) > 2 else exact(m, x)


def mixed(m: Body, x: Tensor) -> Tensor:
    h = exact(m, x)
    return h - h.mean(0)


def mixed_where_there_are_many(m: Body, x: Tensor) -> Tensor:
    return mixed(m, x) if len(x) > 2 else exact(m, x)


def classifier(run: Callable[[Body, Tensor], Tensor]) -> nn.Module:
    return models.Classifier(nn.Sequential(Body(run)), nn.Linear(5, CLASSES))


def dataset() -> Dataset:
    x, y = randn(60, 4).sigmoid().float(), labels(60, CLASSES)
    return Dataset("rows", Split(x[:40], y[:40]), Split(x[40:], y[40:]), num_classes=CLASSES)


def trained(run: Callable[[Body, Tensor], Tensor], *, stacked: bool, victims: int = 2) -> list[TrainingResult]:
    name = f"clipping {run.__name__}"
    if name not in models.names():
        models.register(name, lambda shape, classes: classifier(run))
    recipe = Recipe(name, SGD(0.5), batch_size=8, epochs=2, shaper=Shaper((Clip(0.3),)))
    start = filled(classifier(run)).float().state_dict()
    asked = [Victim(recipe, seed, initial=dict(start)) for seed in range(victims)]
    return list(train_victims(dataset(), asked, stacked=stacked))


@pytest.mark.parametrize(
    ("run", "stacked"),
    [
        pytest.param(exact, True, id="exact-stacked"),
        pytest.param(reordered, False, id="reordered"),
        pytest.param(reordered, True, id="reordered-stacked"),
        pytest.param(reordered_where_there_are_many, False, id="reordered-where-there-are-many"),
    ],
)
def test_models_that_compute_the_same_are_trained_to_the_same(
    run: Callable[[Body, Tensor], Tensor], stacked: bool
) -> None:
    for got, expected in zip(trained(run, stacked=stacked), trained(exact, stacked=False), strict=True):
        assert got.last is not None
        assert expected.last is not None
        for name, value in expected.last.items():
            torch.testing.assert_close(got.last[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("run", "stacked"),
    [
        pytest.param(mixed, False, id="mixed"),
        pytest.param(mixed, True, id="mixed-stacked"),
        pytest.param(mixed_where_there_are_many, False, id="mixed-where-there-are-many"),
        pytest.param(mixed_where_there_are_many, True, id="mixed-where-there-are-many-stacked"),
        pytest.param(reordered_where_there_are_many, True, id="reordered-where-there-are-many-stacked"),
    ],
)
def test_models_whose_rows_depend_on_others_are_not_trained_with_clipping(
    run: Callable[[Body, Tensor], Tensor], stacked: bool
) -> None:
    with pytest.raises(ValueError, match="whatever rows are beside it"):
        trained(run, stacked=stacked)


@pytest.mark.parametrize("run", [reordered, mixed])
def test_an_ensemble_declines_what_it_would_get_wrong(run: Callable[[Body, Tensor], Tensor]) -> None:
    assert ModelEnsemble.of(filled(classifier(run)), randn(2, 4)) is None


def test_an_ensemble_is_checked_once_for_every_size_of_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = filled(classifier(exact))
    stacked = ModelEnsemble.of(model, randn(2, 4))
    assert stacked is not None
    sizes: list[int] = []
    check = ModelEnsemble._is_exact

    def counted(self: ModelEnsemble, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> bool:
        sizes.append(len(x))
        return check(self, parameters, x, y)

    monkeypatch.setattr(ModelEnsemble, "_is_exact", counted)
    parameters = {name: p.detach().unsqueeze(0) for name, p in model.named_parameters()}
    for rows in (8, 8, 4, 8, 4):
        stacked.gradients(parameters, randn(rows, 4), labels(rows, CLASSES))
    assert sizes == [8, 4]


def test_gradients_of_a_reordering_model_are_those_of_the_loop() -> None:
    model, x, y = filled(classifier(reordered)), randn(7, 4), labels(7, CLASSES)
    rows = per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)
    expected = torch.stack([norm(row) for row in rows])
    torch.testing.assert_close(per_sample(model, PER_SAMPLE_LOSS, x, y).norms, expected)
    _, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.3, microbatch=3)
    torch.testing.assert_close(norms, expected)
