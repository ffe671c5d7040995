"""Passes of a stack of dense networks over a batch, with their memory and views of it, made once for each shape.

An operator of a small network's step is a few microseconds of arithmetic: making the views anew takes longer than that.
There are ``K`` victims, ``B`` rows that all of them see and ``S`` that each sees on its own. Together the rows are
columns, which zeros fill up to ``R``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from gradshape.shaping import ShaperStack
from gradshape.training._dense.outputs import Buffer, OutputLayer
from gradshape.training._rows.matrix import LEAST_WIDTH, RowMatrix, aligned


class _Layer(NamedTuple):
    """A layer after the first.

    Attributes:
        below: ``(K, n, R)`` outputs of the layer before.
        inputs: ``(K, n + 1, R)`` rectified outputs of the layer before, and a 1 for the bias.
        units, ones: the two parts of ``inputs``.
        weight: ``(K, m, n + 1)`` weights, the bias last.
        outputs: ``(K, m, R)`` outputs.
    """

    below: Tensor
    inputs: Tensor
    units: Tensor
    ones: Tensor
    weight: Tensor
    outputs: Tensor


class OutputPass:
    """Computes the outputs of all layers for the rows of a batch.

    Args:
        weights: the blocks ``(K, outputs, columns)`` that rows are multiplied by, layer by layer.
        shared, private: ``B`` and ``S``.
        buffer: gives memory.

    Attributes:
        rows: ``B + S``.
        filled: number of columns of zeros after the rows.
        layers: the layers after the first.
        outputs: ``(K, n, R)`` outputs of the last layer.
    """

    def __init__(self, weights: Sequence[Tensor], shared: int, private: int, buffer: Buffer) -> None:
        self.rows = shared + private
        self.filled = aligned(self.rows) - self.rows
        first, *others = weights
        victims, columns = len(first), self.rows + self.filled
        out = buffer("out 0", victims, first.shape[1], columns)
        self._first = first
        self._first_flat = first.flatten(0, 1)
        self._out_flat = out.flatten(0, 1)
        self._private_out = out[:, :, shared : self.rows]
        self.layers: list[_Layer] = []
        for number, weight in enumerate(others, start=1):
            below, inputs = out, buffer(f"in {number}", victims, weight.shape[2], columns)
            out = buffer(f"out {number}", victims, weight.shape[1], columns)
            self.layers.append(_Layer(below, inputs, inputs[:, :-1], inputs[:, -1], weight, out))
        self.outputs = out

    def run(self, shared: Tensor, private: Tensor | None = None) -> Tensor:
        """Compute :attr:`outputs` for shared rows ``(B, c)`` and private rows ``(K, S, c)``, as in ``RowMatrix``."""
        self._multiply(shared)
        if private is not None:
            self._private_out.copy_(torch.bmm(self._first, private.mT))
        for layer in self.layers:
            torch.clamp_min(layer.below, 0, out=layer.units)
            layer.ones.fill_(1)
            torch.bmm(layer.weight, layer.inputs, out=layer.outputs)
        return self.outputs

    def _multiply(self, x: Tensor) -> None:
        out, weights = self._out_flat, self._first_flat
        columns = out.shape[1]
        # The columns of private rows are computed, too, and overwritten: products are faster with a multiple of four
        # columns.
        missing = max(columns, LEAST_WIDTH) - len(x)
        rows = pad(x, (0, 0, 0, missing)) if missing else x
        if columns < LEAST_WIDTH:
            out.copy_(torch.mm(weights, rows.T)[:, :columns])
        else:
            torch.mm(weights, rows.T, out=out)


class GradientPass:
    """Computes the shaped sum of the gradients over a batch, into the blocks of the gradient.

    For a layer with inputs ``a`` (a constant 1 appended for the bias) and output gradients ``D``, sample ``i`` has the
    squared gradient norm ``|a_i|^2 |D_i|^2`` (Goodfellow 2015, "Efficient per-example gradient computations"), so
    shaping costs a few passes over ``D`` and no per-sample gradient is ever formed.

    Args:
        weights, gradients: the blocks ``(K, outputs, columns)`` that rows are multiplied by, and those of the gradient,
            layer by layer.
        added: whether sums are added to what is in ``gradients``, which may be the weights, or take its place.
        output: how the outputs of the last layer are read.
        shared, private: ``B`` and ``S``.
        buffer: gives memory.
        norms: whether per-sample norms will be needed.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        output: OutputLayer,
        shared: int,
        private: int,
        buffer: Buffer,
        *,
        added: bool,
        norms: bool,
    ) -> None:
        self._forward = forward = OutputPass(weights, shared, private, buffer)
        self._output = output
        self._errors = buffer("errors", *forward.outputs.shape)
        self._below = [
            buffer(f"delta {number}", *layer.units.shape) for number, layer in enumerate(forward.layers, start=1)
        ]
        self._deltas = [*self._below, self._errors]
        self._row_deltas = [delta[:, :, : forward.rows] for delta in self._deltas]
        self._shared_delta = self._deltas[0].flatten(0, 1)[:, :shared]
        self._private_delta = self._deltas[0][:, :, shared : forward.rows]
        self._filled_errors = self._errors[:, :, forward.rows :]
        self._back = [layer.weight[:, :, :-1].mT for layer in forward.layers]
        # The squares of these matrices are summed by columns; all of them are written to the same memory.
        normed = [*self._deltas, *(layer.inputs for layer in forward.layers)] if norms else []
        self._squared = {matrices.shape: buffer("squares", *matrices.shape) for matrices in normed}
        self._first_gradient, *self._other_gradients = gradients
        self._first_gradient_flat = self._first_gradient.flatten(0, 1)
        self._beta = int(added)

    def run(
        self, shared: RowMatrix, private: RowMatrix | None, member: Tensor | None, factor: float, shaping: ShaperStack
    ) -> None:
        """Write ``factor`` times the sum of the shaped gradients.

        Args:
            shared: ``B`` rows.
            private: ``(K, S)`` rows, or ``None``.
            member: ``(K, B + S)``: 1 where the row is in the victim's batch, else 0; ``None`` if all are.
            factor: a number.
            shaping: shapers of the ``K`` victims.
        """
        self._forward.run(shared.x, None if private is None else private.x)
        self._backward(_labels(shared, private))
        scale = member
        if shaping.needs_norms:
            squares = self._squares(shared, private, per_layer=shaping.per_layer)
            scale = shaping.weights(squares, member)
            shaping.observe(squares, member)
            if member is not None:
                scale.mul_(member)
        if scale is not None:
            for layer, delta in enumerate(self._row_deltas):
                delta.mul_((scale if scale.dim() == 2 else scale[layer]).unsqueeze(1))
        self._add_products(shared, private, factor)

    def _backward(self, labels: Tensor) -> None:
        forward = self._forward
        if forward.filled:
            labels = pad(labels, (0, forward.filled))
        delta = self._output.errors(forward.outputs, labels, self._errors)
        if forward.filled:
            self._filled_errors.zero_()
        for layer, back, below in zip(forward.layers[::-1], self._back[::-1], self._below[::-1], strict=True):
            torch.bmm(back, delta, out=below)
            delta = torch.ops.aten.threshold_backward.grad_input(below, layer.units, 0, grad_input=below)

    def _squares(self, shared: RowMatrix, private: RowMatrix | None, *, per_layer: bool) -> Tensor:
        """Compute the squared norms of per-sample gradients ``(L, K, B + S)``, by layer or, with ``L = 1``, of all."""
        input_squares = shared.squared
        if private is not None:
            input_squares = torch.cat([input_squares.expand(len(private.squared), -1), private.squared], dim=1)
        output_squares = [*map(self._columns, self._below), self._output.squares(self._errors, self._columns)]
        squares = [self._used(output_squares[0]) * input_squares]
        for layer, output_square in zip(self._forward.layers, output_squares[1:], strict=True):
            layer_squares = self._used(self._columns(layer.inputs)) * self._used(output_square)
            if per_layer:
                squares.append(layer_squares)
            else:
                squares[0] += layer_squares
        return torch.stack(squares) if per_layer else squares[0].unsqueeze(0)

    def _columns(self, matrices: Tensor) -> Tensor:
        """Compute the squared norms ``(K, R)`` of the columns of ``(K, n, R)``."""
        return torch.mul(matrices, matrices, out=self._squared[matrices.shape]).sum(1)

    def _used(self, column_squares: Tensor) -> Tensor:
        return column_squares[:, : self._forward.rows] if self._forward.filled else column_squares

    def _add_products(self, shared: RowMatrix, private: RowMatrix | None, factor: float) -> None:
        self._first_gradient_flat.addmm_(self._shared_delta, shared.x, beta=self._beta, alpha=factor)
        if private is not None:
            self._first_gradient.baddbmm_(self._private_delta, private.x, alpha=factor)
        for gradient, delta, layer in zip(self._other_gradients, self._deltas[1:], self._forward.layers, strict=True):
            gradient.baddbmm_(delta, layer.inputs.mT, beta=self._beta, alpha=factor)


def _labels(shared: RowMatrix, private: RowMatrix | None) -> Tensor:
    if private is None:
        return shared.label
    return torch.cat([shared.label.expand(len(private.label), -1), private.label], dim=1)
