"""One forward pass of a batch, with all that is recorded of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gradshape.clipping._autocast import autocast_dtype
from gradshape.clipping._autograd_graph import AutogradGraph
from gradshape.clipping._generators import Drawn, Draws
from gradshape.clipping._losses import losses_or_gradient
from gradshape.clipping._recording import Layer, RecordedCall, layers_in, recorded_forward
from gradshape.clipping._rows import Rows
from gradshape.clipping._signature import Signature
from gradshape.clipping.protocol import LossFn, one_loss_per_sample
from gradshape.clipping.structure import Structure


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The forward pass of a batch through a model and its loss.

    Attributes:
        structure, loss_fn: the model and its loss.
        x, y: inputs and labels of ``B`` rows.
        layers: the layers with their calls.
        logits: what the model returned.
        out, out_grad: the tensor that a backward pass starts from, and the gradient of the summed losses in it.
        drawn: what random numbers the pass drew; ``None`` if nobody looked.
        values: the plain values that the model and the loss may have read, see :mod:`gradshape.clipping._python_state`.
    """

    structure: Structure
    loss_fn: LossFn
    x: Rows = field(repr=False)
    y: Rows = field(repr=False)
    layers: Sequence[Layer] = field(repr=False)
    logits: Any = field(repr=False)
    out: Tensor = field(repr=False)
    out_grad: Tensor = field(repr=False)
    drawn: Drawn | None = None
    values: Hashable = ()

    @classmethod
    def of(
        cls,
        structure: Structure,
        loss_fn: LossFn,
        x: Rows,
        y: Rows,
        draws: Draws,
        *,
        values: Hashable = (),
    ) -> "ForwardPass":
        """Run and record the pass.

        Args:
            structure: the model.
            loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
            draws: watches what is drawn.
            values: the plain values that the model and the loss may read.

        Raises:
            ValueError: ``loss_fn`` does not return one loss per sample.
        """
        layers = layers_in(structure)
        with torch.enable_grad():
            # A copy of the rows where the model may write to them: they are needed as they are.
            logits = recorded_forward(structure, layers, x.clone())
            out, out_grad = losses_or_gradient(loss_fn, logits, y.value, len(x))
        return cls(structure, loss_fn, x, y, layers, logits, out, out_grad, draws.drawn(), values)

    @property
    def draws(self) -> bool:
        """Whether random numbers were drawn."""
        return self.drawn is not None and self.drawn.anything

    @cached_property
    def graph(self) -> AutogradGraph:
        """The graph of the losses."""
        return AutogradGraph(self.out)

    @cached_property
    def losses(self) -> Tensor:
        """``(B,)``, detached."""
        if self.out is not self.logits:
            return self.out.detach()
        with torch.no_grad():
            return one_loss_per_sample(self.loss_fn(self.logits, self.y.value), len(self.x))

    @cached_property
    def rounding(self) -> float:
        """The relative rounding error of the coarsest dtype that the pass computes in."""
        device, dtypes = self.x.device, {p.dtype for p in self.structure.parameters.values()} or {self.out.dtype}
        cast = autocast_dtype(device)
        coarse = self.graph.converts or (torch.float32 in dtypes and _rounds_factors(device))
        dtypes |= ({cast} if cast is not None else set()) | ({torch.bfloat16} if coarse else set())
        return max(torch.finfo(dtype).eps for dtype in dtypes)

    @property
    def shapes(self) -> Hashable:
        """What the layers saw."""
        return self.x.shapes, tuple((layer.name, tuple(map(_shapes, layer.calls))) for layer in self.layers)

    @property
    def signature(self) -> Signature:
        """What tells passes apart that may have to be differentiated in different ways."""
        places = {id(p): place for place, p in enumerate(self.structure.parameters.values())}
        return Signature(
            sizes=(self.shapes, self.y.shapes, self.graph.settings),
            rest=(
                tuple(self.structure.parameters),
                (self.x.kinds, self.y.kinds, autocast_dtype(self.x.device), self.out is self.logits),
                self.graph.links(places),
            ),
            values=(self.values, self.x.plain, self.y.plain),
        )


def _rounds_factors(device: torch.device) -> bool:
    """Return whether products of float32 round their factors to fewer digits."""
    if torch.get_float32_matmul_precision() != "highest":
        return True
    return device.type == "cuda" and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)


def _shapes(call: RecordedCall) -> Hashable:
    return tuple(tensor.shape for tensor in call.tensors), call.shapes
