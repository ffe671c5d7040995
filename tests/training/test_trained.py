import pytest
import torch

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
    with pytest.raises(ValueError, match=r"'mlp1': the state has parameters .*: expected .*head.weight"):
        TrainedModel(trained.recipe, other).module((5,), 3)


def test_a_network_whose_buffers_nobody_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = _trained()
    build = models.build

    def with_buffer(*arguments: object) -> torch.nn.Module:
        network = build(*arguments)  # type: ignore[arg-type]
        network.register_buffer("projection", torch.ones(3))
        return network

    monkeypatch.setattr(models, "build", with_buffer)
    with pytest.raises(ValueError, match=r"has buffers \['projection'\], which are not kept"):
        trained.module((5,), 3)
