"""Refusal of models in which samples influence each other: they have no per-sample gradient."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradshape.clipping.structure import Structure


def normalizes_by_batch(module: nn.Module) -> bool:
    """Return whether a module, in its present mode, normalises with the statistics of the batch."""
    # Without running statistics it uses those of the batch also in eval mode.
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def refuse_mixing(structure: Structure) -> None:
    """Raise ``ValueError`` if a module normalises with the statistics of the batch, or rescales what it looks up."""
    for name, module in structure.modules.items():
        if normalizes_by_batch(module):
            remedy = "GroupNorm in its place" + ("" if module.running_mean is None else ", or model.eval()")
            raise ValueError(
                f"model: {name or 'it'} is a {type(module).__name__} that normalises with the statistics of the batch, "
                "which mixes samples: expected a model in which the gradient of a sample depends on that sample only; "
                f"use {remedy}"
            )
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            raise ValueError(
                f"model: {name or 'it'} is an {type(module).__name__} with max_norm={module.max_norm}, which rescales "
                "the rows of its table that a batch looks up: expected a model that a forward pass leaves as it is; "
                "use max_norm=None"
            )
