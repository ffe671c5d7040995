"""The written out updates are those of ``torch.optim``."""

import pytest
import torch
from torch import Tensor

from gradshape.training import SGD, Adam, Optimizer

STEPS = 60


def _torch_twin(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(parameters, lr=optimizer.lr, momentum=optimizer.momentum)
    betas = (optimizer.beta1, optimizer.beta2)
    return torch.optim.Adam(parameters, lr=optimizer.lr, betas=betas, eps=optimizer.eps)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01), Adam(0.1, beta1=0.5, beta2=0.9, eps=1e-3), Adam(0.1, beta1=0.0)],
    ids=str,
)
@pytest.mark.parametrize(
    "shapes",
    # Beyond 65,536 elements a flat tensor is updated block by block.
    [((3, 4), (4,)), ((1 << 16,),), ((2 * (1 << 16) + 3,),)],
    ids=["several", "one-block", "blocks"],
)
def test_many_steps_equal_torchs_optimizer(optimizer: Optimizer, shapes: tuple[tuple[int, ...], ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    theirs = [parameter.clone() for parameter in ours]
    updater, twin = optimizer.over(ours), _torch_twin(optimizer, theirs)
    for _ in range(STEPS):
        gradients = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        updater.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        twin.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)], ids=str)
def test_gradients_are_left_as_they_are(optimizer: Optimizer) -> None:
    gradient = torch.ones(3)
    updater = optimizer.over([torch.zeros(3)])
    updater.step([gradient])
    updater.step([gradient])
    assert gradient.tolist() == [1, 1, 1]


@pytest.mark.parametrize("lr", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_learning_rate_that_is_none_is_named(kind: type[SGD] | type[Adam], lr: float) -> None:
    with pytest.raises(ValueError, match=f"lr={lr!r}"):
        kind(lr)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_its_range_is_named(decay: float) -> None:
    with pytest.raises(ValueError, match="momentum="):
        SGD(0.1, momentum=decay)
    with pytest.raises(ValueError, match="beta1="):
        Adam(0.1, beta1=decay)
    with pytest.raises(ValueError, match="beta2="):
        Adam(0.1, beta2=decay)


def test_an_adam_without_eps_is_refused() -> None:
    with pytest.raises(ValueError, match="eps="):
        Adam(0.1, eps=0)


def test_nothing_to_optimize_is_a_step_that_changes_nothing() -> None:
    optimizer = Adam(0.1).over([])
    optimizer.step([])
    assert optimizer.steps == 1


@pytest.mark.parametrize("size", [2, 5])
def test_a_gradient_of_another_shape_is_refused(size: int) -> None:
    with pytest.raises(RuntimeError, match="size"):
        Adam(0.1).over([torch.zeros(4)]).step([torch.zeros(size)])
