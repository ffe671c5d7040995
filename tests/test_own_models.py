"""Networks of the user's own as victims."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.data import Dataset, Split, Units, load
from gradshape.own_models import named
from gradshape.shaping import Clip
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims


class Net(nn.Module):
    """It has no body, no head, and layers that no rule of the library initialises."""

    def __init__(self, num_classes: int = 2, *, width: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.scale = nn.Parameter(torch.rand(width))
        self.last = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(x)) * self.scale)
        return logits


class Shaped(nn.Sequential):
    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(input_shape[0], num_classes))


def positional(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Linear(shape[0], classes)


def nothing() -> nn.Module:
    return Net(3)


def recipe(model: Any, **fields: Any) -> Recipe:
    return Recipe(model, SGD(0.5), batch_size=50, epochs=2, **fields)


@pytest.mark.parametrize(
    ("model", "name", "classes"),
    [(Net, "Net", 4), (Shaped, "Shaped", 4), (positional, "positional", 4), (nothing, "nothing", 3)],
)
def test_a_factory_is_given_what_it_asks_for(model: Any, name: str, classes: int) -> None:
    assert named(model) == name
    assert models.build(name, (2,), 4)(torch.rand(3, 2)).shape == (3, classes)


def test_initial_weights_are_the_factorys_own_and_hang_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    name = named(Net)
    one, again, other = (
        models.build(name, (2,), 2, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.scale, other.scale)  # type: ignore[arg-type]


def test_every_victim_begins_with_the_weights_of_a_trained_module() -> None:
    trained = Net()
    name = named(trained)
    with torch.no_grad():
        trained.scale.zero_()
    for seed in (1, 2):
        model = models.build(name, (2,), 2, generator=torch.Generator().manual_seed(seed))
        # As it was when it was named, whatever became of it since.
        assert model.scale.min() > 0  # type: ignore[operator]


def test_recipes_name_what_they_are_given() -> None:
    assert recipe(Net).model == "Net"
    assert recipe(Net) == recipe("Net") == recipe(Net)


def test_a_partial_needs_a_name() -> None:
    wide = functools.partial(Net, width=9)
    with pytest.raises(ValueError, match="has no name for ids: give it one"):
        named(wide)
    assert models.build(named(wide, name="wide"), (2,), 2).first.out_features == 9  # type: ignore[union-attr]


def test_two_models_of_one_name_are_refused() -> None:
    named(Net)
    named(Net)
    with pytest.raises(ValueError, match="model 'Net': another model is called so"):
        named(Shaped, name="Net")
    named(Net(), name="trained")
    with pytest.raises(ValueError, match="another model is called so"):
        named(Net(), name="trained")
    with pytest.raises(ValueError, match="another model is called so"):
        named(Net, name="mlp")
    # The same weights in a network that does something else with them.
    named(nn.Dropout(0.1), name="dropout")
    with pytest.raises(ValueError, match="another model is called so"):
        named(nn.Dropout(0.5), name="dropout")


def test_what_asks_for_something_else_is_refused_with_what_it_asks_for() -> None:
    def needs(width: int, depth: int, more: int) -> nn.Module:
        return Net(width=width)

    with pytest.raises(TypeError, match="it also needs 'width', 'depth', 'more': expected arguments called"):
        named(needs)
    with pytest.raises(TypeError, match=r"model=3: expected a name, an nn.Module, or a class or function"):
        named(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("shaper", [None, Clip(0.5)])
def test_it_trains_in_a_stack_as_by_itself(shaper: Clip | None) -> None:
    moons = load("two_moons")
    own = recipe(Net) if shaper is None else recipe(Net, shaper=shaper)
    together = train_victims(moons, [Victim(own, seed) for seed in (0, 1, 2)])
    for seed, result in enumerate(together):
        [alone] = train_victims(moons, [Victim(own, seed)], stacked=False)
        assert torch.allclose(result.accuracy, alone.accuracy, atol=2 / len(moons.test))


UNITS = Units.of(-4, 4, row=(2,))


def in_units(units: Units | None) -> Dataset:
    rows = Split(torch.rand(40, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2)
    return Dataset("mine", rows, rows, num_classes=2, units=units)


class Watching(nn.Linear):
    """Remembers the largest value that it was given."""

    largest = 0.0

    def __init__(self) -> None:
        super().__init__(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        Watching.largest = max(Watching.largest, float(x.detach().abs().max()))
        return super().forward(x)


def test_a_users_network_sees_the_users_units() -> None:
    Watching.largest = 0.0
    train_victims(in_units(UNITS), [Victim(recipe(Watching), 0)], stacked=False)
    assert 3 < Watching.largest <= 4


def test_a_network_of_the_library_sees_the_unit_box_whatever_the_units() -> None:
    plain, own = (train_victims(in_units(units), [Victim(recipe("lr"), 0)])[0] for units in (None, UNITS))
    assert plain.last is not None
    assert own.last is not None
    assert all(torch.equal(plain.last[name], own.last[name]) for name in plain.last)


def test_a_trained_network_takes_rows_in_the_unit_box_and_has_features() -> None:
    data = in_units(UNITS)
    [result] = train_victims(data, [Victim(recipe(Net), 0)])
    assert result.last is not None
    network = TrainedModel(recipe(Net), result.last, units=UNITS).module((2,), 2)
    own = network.network(UNITS.from_unit(data.test.x))  # type: ignore[operator]
    assert torch.equal(network(data.test.x), own)
    assert models.penultimate(network, data.test.x).shape == (40, 5)
    accuracy = (network(data.test.x).argmax(1) == data.test.y).double().mean()
    assert accuracy.item() == result.accuracy[-1].item()


def smoothed(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none", label_smoothing=0.2)


def plain(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none")


@pytest.mark.parametrize("model", ["lr", "mlp1", Net])
@pytest.mark.parametrize("shaped", [False, True])
def test_cross_entropy_of_ones_own_is_cross_entropy(model: Any, shaped: bool) -> None:
    moons = load("two_moons").subset(train=100, test=50)
    fields = {"shaper": Clip(0.5)} if shaped else {}
    [ours], [own] = (
        train_victims(moons, [Victim(recipe(model, loss=loss, **fields), 0)], stacked=stacked)
        for loss, stacked in ((None, False), (plain, True))
    )
    assert ours.last is not None
    assert own.last is not None
    for name, value in ours.last.items():
        torch.testing.assert_close(own.last[name], value, rtol=1e-4, atol=1e-6)


def test_another_loss_is_another_training() -> None:
    moons = load("two_moons").subset(train=100, test=50)
    [ours], [own] = (train_victims(moons, [Victim(recipe("lr", loss=loss), 0)]) for loss in (None, smoothed))
    assert ours.last is not None
    assert own.last is not None
    assert not torch.allclose(ours.last["head.weight"], own.last["head.weight"])


@pytest.mark.parametrize("shaped", [False, True])
def test_a_loss_that_is_not_one_a_row_is_refused(shaped: bool) -> None:
    def mean(logits: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, y)

    fields = {"shaper": Clip(0.5)} if shaped else {}
    with pytest.raises(ValueError, match=r"shape \(\)"):
        train_victims(load("two_moons"), [Victim(recipe("lr", loss=mean, **fields), 0)])


class Asserting(Net):
    """It branches on the values of its rows, which is not known to what runs models together."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.isfinite().all()
        return super().forward(x) if x.abs().max() < 1e6 else super().forward(x / 1e6)


@pytest.mark.parametrize("order_seed", [None, 3])
def test_networks_that_branch_on_values_are_trained_one_by_one(order_seed: int | None) -> None:
    moons, own = load("two_moons").subset(train=100, test=50), recipe(Asserting, shaper=Clip(0.5))
    victims = [Victim(own, seed, order_seed=order_seed) for seed in (0, 1)]
    for one, alone in zip(train_victims(moons, victims), train_victims(moons, victims, stacked=False), strict=True):
        assert torch.equal(one.accuracy, alone.accuracy)


class Sized(nn.Module):
    width = 8

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, self.width), nn.ReLU(), nn.Linear(self.width, 2))

    @classmethod
    def small(cls) -> nn.Module:
        return cls()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


class Wide(Sized):
    width = 16


def test_a_network_that_is_frozen_takes_no_ones_place() -> None:
    full = Sized()
    head = copy.deepcopy(full)
    head.body[0].requires_grad_(False)
    assert named(full) == named(copy.deepcopy(full)) == "Sized"
    with pytest.raises(ValueError, match=r"another model is called so: .*own_models\.named\(\.\.\., name='Sized_2'\)"):
        named(head)
    assert not any(p.requires_grad for p in models.build(named(head, name="head"), (2,), 2).body[0].parameters())  # type: ignore[union-attr, index]


def test_a_factory_of_another_class_takes_no_ones_place() -> None:
    assert named(Sized.small) == "small"
    with pytest.raises(ValueError, match="another model is called so"):
        named(Wide.small)
