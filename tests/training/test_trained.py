from dataclasses import replace

import pytest
import torch
from torch import nn

from gradshape import models
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims
from tests.training.samples import blobs


def _trained(model: str = "mlp1") -> TrainedModel:
    recipe = Recipe(model, SGD(0.3), batch_size=10, epochs=2)
    [result] = train_victims(blobs(), [Victim(recipe, 0, watch=blobs().test.x)])
    assert result.last is not None
    assert result.predictions is not None
    return TrainedModel(recipe, result.last)


def test_the_network_predicts_what_the_victim_did() -> None:
    data = blobs()
    recipe = Recipe("mlp1", SGD(0.3), batch_size=10, epochs=2)
    [result] = train_victims(data, [Victim(recipe, 0, watch=data.test.x)])
    assert result.last is not None
    assert result.predictions is not None
    network = TrainedModel(recipe, result.last).module(data.input_shape, data.num_classes)
    assert torch.equal(network(data.test.x).argmax(1), result.predictions[-1])


def test_the_network_is_in_evaluation_mode_and_takes_no_gradients() -> None:
    network = _trained().module((5,), 3)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_changing_the_network_leaves_what_was_trained_alone() -> None:
    trained = _trained()
    before = {key: value.clone() for key, value in trained.state.items()}
    for parameter in trained.module((5,), 3).parameters():
        parameter.data += 1
    for key, value in trained.state.items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("names", [[], ["no.such"], ["head.weight"]])
def test_a_state_of_other_parameters_is_refused(names: list[str]) -> None:
    trained = _trained()
    other = {name: torch.zeros(3, 256) for name in names}
    with pytest.raises(ValueError, match=r"'mlp1': the state has .*: expected .*head.weight"):
        TrainedModel(trained.recipe, other).module((5,), 3)


def _with_statistics(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(input_shape[0], 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, num_classes))


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(models, "_BUILDERS", {**models._BUILDERS, "normalised": _with_statistics})
    return Recipe("normalised", SGD(0.3), batch_size=10, epochs=2)


def test_running_statistics_are_kept_with_the_parameters(normalised: Recipe) -> None:
    data = blobs()
    [result] = train_victims(data, [Victim(normalised, 0, watch=data.test.x)])
    assert result.last is not None
    assert result.predictions is not None
    assert result.last["1.num_batches_tracked"] > 0
    network = TrainedModel(normalised, result.last).module(data.input_shape, data.num_classes)
    assert torch.equal(network(data.test.x).argmax(1), result.predictions[-1])


def test_a_training_goes_on_from_its_running_statistics(normalised: Recipe) -> None:
    data = blobs()
    [first] = train_victims(data, [Victim(normalised, 0)])
    assert first.last is not None
    forgotten = {**first.last, "1.running_mean": torch.full((6,), 9.0)}
    one, other = train_victims(data, [Victim(normalised, 1, initial=state) for state in (first.last, forgotten)])
    assert one.last is not None
    assert other.last is not None
    assert one.last["1.num_batches_tracked"] == 2 * first.last["1.num_batches_tracked"]
    assert not torch.allclose(one.last["1.running_mean"], other.last["1.running_mean"])


def test_a_state_without_the_running_statistics_is_refused(normalised: Recipe) -> None:
    data = blobs()
    [first] = train_victims(data, [Victim(normalised, 0)])
    assert first.last is not None
    short = {name: value for name, value in first.last.items() if "running" not in name}
    with pytest.raises(ValueError, match=r"victim 0: initial: the state has .*: expected .*1.running_mean"):
        train_victims(data, [Victim(normalised, 0, initial=short)])
    with pytest.raises(ValueError, match=r"'normalised': the state has .*: expected .*1.running_mean"):
        TrainedModel(normalised, short).module(data.input_shape, data.num_classes)


def test_a_network_that_makes_a_buffer_as_it_runs_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.register_buffer("seen", x.mean(0).detach())
            return super().forward(x)

    builders = {**models._BUILDERS, "lazy": lambda shape, classes: Lazy(shape[0], classes)}
    monkeypatch.setattr(models, "_BUILDERS", builders)
    data = blobs()
    victim = Victim(Recipe("lazy", SGD(0.3), batch_size=10, epochs=1), 0)
    [first] = train_victims(data, [victim])
    with pytest.raises(ValueError, match="which a network has as soon as it is built; seen differ"):
        train_victims(data, [replace(victim, initial=first.last)])


@pytest.mark.parametrize("max_memory", [1 << 30, 1 << 10])
def test_a_batch_that_is_normalised_is_taken_whole_whatever_it_needs(normalised: Recipe, max_memory: int) -> None:
    data = blobs()
    [result] = train_victims(data, [Victim(normalised, 0)], max_memory=max_memory)
    assert result.last is not None
    assert result.last["1.num_batches_tracked"] == 2 * (len(data.train) // 10)
