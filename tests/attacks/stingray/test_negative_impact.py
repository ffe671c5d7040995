"""How much harm a row does to rows that a network is not trained on, by a step of its last layer."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape.attacks.stingray._negative_impact import HeldOutLoss
from gradshape.data import Split
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims
from tests.training.samples import blobs

PICTURES = blobs(rows=60, shape=(1, 4, 3), classes=3, spread=0.3)


@cache
def base_model() -> TrainedModel:
    recipe = Recipe("mlp1", SGD(0.2), batch_size=10, epochs=3)
    [result] = train_victims(PICTURES, [Victim(recipe, 0)])
    assert result.last is not None
    return TrainedModel(recipe, result.last)


def held_out(rows: Split) -> tuple[torch.nn.Module, HeldOutLoss]:
    network = base_model().module(PICTURES.input_shape, PICTURES.num_classes)
    return network, HeldOutLoss(network, rows)


def test_the_rise_is_that_of_a_small_step_on_the_last_layer() -> None:
    network, judge = held_out(PICTURES.test)
    network.double()
    rows = Split(PICTURES.train.x[:5], (PICTURES.train.y[:5] + 1) % 3)
    head: Any = network.head
    start = {name: p.clone() for name, p in head.named_parameters()}

    def loss(of: Split) -> Tensor:
        return torch.nn.functional.cross_entropy(network(of.x.double()), of.y)

    before, expected, rate = loss(PICTURES.test), [], 1e-5
    for k in range(5):
        head.requires_grad_(True)
        gradients = torch.autograd.grad(loss(Split(rows.x[k : k + 1], rows.y[k : k + 1])), list(head.parameters()))
        head.requires_grad_(False)
        for parameter, gradient in zip(head.parameters(), gradients, strict=True):
            parameter -= rate * gradient
        expected.append((float(loss(PICTURES.test)) - float(before)) / rate)
        head.load_state_dict(start)
    network.float()
    assert judge.rise(rows).tolist() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_only_counted_rows_are_held_out() -> None:
    half = torch.arange(len(PICTURES.test)) % 2 == 0
    _, whole = held_out(PICTURES.test)
    _, part = held_out(Split(PICTURES.test.x[half], PICTURES.test.y[half]))
    torch.testing.assert_close(whole.rise(PICTURES.train, counted=half), part.rise(PICTURES.train))


def test_the_row_that_a_row_was_made_from_is_not_held_out_for_it() -> None:
    _, judge = held_out(PICTURES.test)
    rows, places = Split(PICTURES.train.x[:3], PICTURES.train.y[:3]), torch.tensor([7, 0, 7])
    counted = torch.arange(len(PICTURES.test)) != 0
    rises = judge.rise(rows, counted=counted, made_from=places)
    for k, place in enumerate(places):
        others = counted & (torch.arange(len(PICTURES.test)) != place)
        alone = judge.rise(Split(rows.x[k : k + 1], rows.y[k : k + 1]), counted=others)
        torch.testing.assert_close(rises[k : k + 1], alone)


def test_a_row_that_only_its_own_base_could_judge_is_refused() -> None:
    _, judge = held_out(PICTURES.test)
    counted = torch.arange(len(PICTURES.test)) == 3
    with pytest.raises(ValueError, match="made_from: no held-out row that counts is left"):
        judge.rise(Split(PICTURES.train.x[:1], PICTURES.train.y[:1]), counted=counted, made_from=torch.tensor([3]))


def test_a_network_without_a_linear_layer_is_judged_by_its_features() -> None:
    class Convolutional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 3, (4, 3))

        def features(self, x: Tensor) -> Tensor:
            return x.flatten(1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.conv(x)).flatten(1)

    network = Convolutional().requires_grad_(False)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).requires_grad_(False)
    linear[1].load_state_dict({"weight": network.conv.weight.flatten(1), "bias": network.conv.bias})
    one, other = (HeldOutLoss(net, PICTURES.test).rise(PICTURES.train) for net in (network, linear))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("broken", ["network", "rows"])
def test_what_is_not_finite_says_nothing_of_harm(broken: str) -> None:
    network, judge = held_out(PICTURES.test)
    rows = Split(PICTURES.train.x.clone(), PICTURES.train.y)
    if broken == "rows":
        rows.x[3] = torch.nan
        with pytest.raises(ValueError, match=r"of 1 of \d+ rows are not finite: expected finite rows and a network"):
            judge.rise(rows)
        return
    for parameter in network.parameters():
        parameter.fill_(torch.inf)
    with pytest.raises(ValueError, match="rows are not finite"):
        HeldOutLoss(network, PICTURES.test)


def test_a_network_whose_last_layer_is_not_known_is_not_judged() -> None:
    tokens = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten()).requires_grad_(False)
    with pytest.raises(ValueError, match="does not give its logits: give Sequential a method features"):
        HeldOutLoss(tokens, Split(torch.rand(6, 3, 3), torch.tensor([0, 1, 2, 0, 1, 2])))


def test_a_harmful_row_is_told_from_a_harmless_one() -> None:
    _, judge = held_out(PICTURES.test)
    harmless = judge.rise(PICTURES.train)
    harmful = judge.rise(Split(PICTURES.train.x, (PICTURES.train.y + 1) % 3))
    assert harmless.mean() < 0 < harmful.mean()
