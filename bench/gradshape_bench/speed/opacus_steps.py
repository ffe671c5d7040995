"""The baselines: steps with Opacus' public classes, without noise.

PyTorch's attention is replaced first, as Opacus' validator demands, because no mode of Opacus supports it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.layers import DPMultiheadAttention
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn

from gradshape_bench.speed.library_steps import TimedStep, named
from gradshape_bench.speed.problems import MAX_NORM, Prepared


def hooks(prepared: Prepared, lr: float) -> TimedStep:
    """Use per-sample gradients by the rules of the layers, which is Opacus' default."""
    return _per_sample(prepared, lr, functorch=False)


def functorch(prepared: Prepared, lr: float) -> TimedStep:
    """Use per-sample gradients by ``torch.func``, layer by layer."""
    return _per_sample(prepared, lr, functorch=True)


def ghost(prepared: Prepared, lr: float) -> TimedStep:
    """Use ghost clipping: norms without per-sample gradients where Opacus has a rule, and a second backward pass."""
    model = opacus_compatible(prepared.model())
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=MAX_NORM)
    optimizer = _optimizer(DPOptimizerFastGradientClipping, model, prepared, lr)
    criterion = DPLossFastGradientClipping(wrapped, optimizer, nn.CrossEntropyLoss())
    return _step(wrapped, optimizer, criterion, prepared)


def _per_sample(prepared: Prepared, lr: float, *, functorch: bool) -> TimedStep:
    model = opacus_compatible(prepared.model())
    wrapped = GradSampleModule(model, force_functorch=functorch)
    return _step(wrapped, _optimizer(DPOptimizer, model, prepared, lr), nn.CrossEntropyLoss(), prepared)


def _optimizer(kind: Any, model: nn.Module, prepared: Prepared, lr: float) -> Any:
    sgd = torch.optim.SGD(model.parameters(), lr=lr)
    return kind(sgd, noise_multiplier=0.0, max_grad_norm=MAX_NORM, expected_batch_size=len(prepared.x))


def _step(wrapped: Any, optimizer: Any, criterion: Callable[[Tensor, Tensor], Any], prepared: Prepared) -> TimedStep:
    def take() -> None:
        optimizer.zero_grad()
        criterion(wrapped(prepared.x), prepared.y).backward()
        optimizer.step()

    return TimedStep(take, lambda: with_torch_names(named(wrapped._module)))


class _Attention(DPMultiheadAttention):  # type: ignore[misc]
    """Opacus' attention with its layers and rules, which computes what PyTorch's does, batch first and without masks.

    Up to 1.6 Opacus' own class confuses heads and words: https://github.com/meta-pytorch/opacus/pull/825.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **_: object) -> tuple[Tensor, None]:
        def by_head(x: Tensor) -> Tensor:
            split: Tensor = x.unflatten(-1, (self.num_heads, -1))
            return split.transpose(1, 2)

        q, k, v = by_head(self.qlinear(query)), by_head(self.klinear(key)), by_head(self.vlinear(value))
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None


def opacus_compatible(model: nn.Module) -> nn.Module:
    """Return ``model`` in a form that Opacus supports: attention is replaced in place by Opacus' own."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.MultiheadAttention):
            replacement = _Attention(module.embed_dim, module.num_heads, batch_first=True)
            replacement.to(module.out_proj.weight)
            replacement.load_state_dict(module.state_dict())
            place, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(place), attribute, replacement)
    return model


def with_torch_names(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters from Opacus' attention to those of a network with PyTorch's."""
    joined = dict(values)
    for name in [name for name in joined if ".qlinear." in name]:
        place, _, kind = name.rpartition(".qlinear.")
        parts = [joined.pop(f"{place}.{part}linear.{kind}") for part in "qkv"]
        joined[f"{place}.in_proj_{kind}"] = torch.cat(parts)
    return joined
