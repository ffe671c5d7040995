"""Floating-point operations of a step, and of the matrix product that steps are compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_SIDE = 2048
SQUARE_PRODUCT_FLOPS = 2 * _SIDE**3


def step_flops(products: Sequence[int], batch_size: int) -> int:
    """Count the floating-point operations in the matrix products of one victim's step.

    With ``p_l`` multiplications a row in layer ``l`` (inputs times outputs, at every position of a convolution) and
    ``B`` rows, the forward pass takes ``2 B sum_l p_l``, the gradients of the weights as much, and the gradients of
    the layers' inputs as much without the first layer, whose inputs need none. Per-sample norms, clipping, activations
    and the update are not counted: they are what a step should hide.

    Args:
        products: ``p_l`` of each layer, from the inputs on.
        batch_size: number of rows ``B``.

    >>> step_flops([784 * 256, 256 * 256, 256 * 10], 100)
    121139200
    """
    return 2 * batch_size * (2 * sum(products) + sum(products[1:]))


def layer_products(model: nn.Module, x: Tensor) -> list[int]:
    """Count the multiplications for one row in every ``nn.Linear`` and ``nn.Conv2d``, in the order of calls.

    Args:
        model: network without other layers that multiply by weights.
        x: ``(B, ...)`` inputs, at least one row.

    >>> layer_products(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 3))
    [12, 8]
    """
    products: list[int] = []

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        outputs = output[0].numel()
        if isinstance(layer, nn.Linear):
            products.append(layer.in_features * outputs)
        elif isinstance(layer, nn.Conv2d):
            products.append(layer.weight[0].numel() * outputs)

    handles = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with torch.no_grad():
            model(x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return products


def square_product(device: torch.device) -> Callable[[], None]:
    """Return a function that multiplies two square float32 matrices: :data:`SQUARE_PRODUCT_FLOPS` operations."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(_SIDE, _SIDE, generator=generator).to(device) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    return multiply
