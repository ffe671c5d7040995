"""Refusal of models in which samples influence each other: they have no per-sample gradient."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def refuse_mixing(model: nn.Module) -> None:
    """Raise ``ValueError`` if a batch normalisation would normalise with the statistics of the batch."""
    for name, module in model.named_modules():
        # Without running statistics it uses those of the batch in eval mode too.
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            remedy = "GroupNorm in its place" + ("" if module.running_mean is None else ", or model.eval()")
            raise ValueError(
                f"model: {name or 'it'} is a {type(module).__name__} that normalises with the statistics of the batch, "
                "which mixes samples: expected a model in which the gradient of a sample depends on that sample only; "
                f"use {remedy}"
            )
