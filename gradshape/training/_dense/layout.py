"""Where the parameters of dense networks lie in one flat tensor."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from gradshape.shaping import Shaper
from gradshape.training._dense.outputs import VECTOR, DifferenceOutput, OutputLayer, SoftmaxOutput
from gradshape.training._rows.matrix import aligned, columns_of
from gradshape.training.optimizers import SGD, Optimizer
from gradshape.training.state import State

# Blocks begin at multiples of so many elements.
_BLOCK_ALIGNED = 16


class Layout(ABC):
    """The parameters of all victims in blocks, one after the other; a victim's part of each block is a matrix.

    Args:
        widths: inputs, hidden layers, classes.
        names: names ``(weight, bias)`` of each layer's parameters in a victim's state.

    Attributes:
        blocks: ``(outputs, columns)`` of one victim's matrix in every block: a column for each input, one for the bias,
            and zeros as in :func:`gradshape.training._rows.matrix.columns_of`.
        layers: how many blocks, from the first, the rows are multiplied by.
        output: how the outputs of the last of these blocks are read.
        parameters: number of a victim's parameters.
    """

    blocks: Sequence[tuple[int, int]]
    layers: int
    output: OutputLayer

    def __init__(self, widths: Sequence[int], names: Sequence[tuple[str, str]]) -> None:
        self._names = list(names)
        self._shapes = list(itertools.pairwise(widths))
        self._columns = [columns_of(widths[0]), *(inputs + 1 for inputs in widths[1:-1])]
        self.parameters = sum((inputs + 1) * outputs for inputs, outputs in self._shapes)

    def size(self, num_models: int) -> int:
        """Return the number of elements of so many models, gaps included."""
        return aligned(sum(aligned(num_models * math.prod(block), _BLOCK_ALIGNED) for block in self.blocks), VECTOR)

    def views(self, flat: Tensor, num_models: int) -> list[Tensor]:
        """Return the blocks ``(num_models, outputs, columns)`` of a flat tensor of :meth:`size` elements."""
        views, offset = [], 0
        for block in self.blocks:
            count = num_models * math.prod(block)
            views.append(flat[offset : offset + count].view(num_models, *block))
            offset += aligned(count, _BLOCK_ALIGNED)
        return views

    def matrices(self, state: Mapping[str, Tensor]) -> list[Tensor]:
        """Return one victim's layers as matrices, given its state."""
        pairs = [(state[weight], state[bias]) for weight, bias in self._names]
        return [self._matrix(layer, *pair) for layer, pair in enumerate(pairs)]

    def _matrix(self, layer: int, weight: Tensor, bias: Tensor) -> Tensor:
        inputs, _ = self._shapes[layer]
        return pad(torch.cat([weight, bias.unsqueeze(-1)], dim=-1), (0, self._columns[layer] - inputs - 1))

    def named(self, matrices: Sequence[Tensor]) -> State:
        """Return a victim's state, as copies on the CPU, given its layers as matrices."""
        state = {}
        for (weight, bias), matrix, (inputs, _) in zip(self._names, matrices, self._shapes, strict=True):
            state[weight] = matrix[:, :inputs].contiguous().cpu()
            state[bias] = matrix[:, inputs].clone().cpu()
        return state

    def drawn(self, draws: Tensor) -> list[Tensor]:
        """Lay out draws ``(T, n, P)``, flat in the order of a state, in blocks ``(T, n, outputs, columns)``."""
        matrices, offset = [], 0
        for layer, (inputs, outputs) in enumerate(self._shapes):
            weight = draws[:, :, offset : offset + inputs * outputs].unflatten(2, (outputs, inputs))
            offset += inputs * outputs
            bias = draws[:, :, offset : offset + outputs]
            offset += outputs
            matrices.append(self._matrix(layer, weight, bias))
        return self.split(matrices)

    @abstractmethod
    def split(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Turn a victim's layers ``(..., outputs, columns)`` into its parts of the blocks."""

    @abstractmethod
    def joined(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        """Turn a victim's parts of the blocks into its layers."""


class Plain(Layout):
    """The layout with one block for each layer."""

    output = SoftmaxOutput()

    def __init__(self, widths: Sequence[int], names: Sequence[tuple[str, str]]) -> None:
        super().__init__(widths, names)
        self.blocks = [(outputs, n) for (_, outputs), n in zip(self._shapes, self._columns, strict=True)]
        self.layers = len(self.blocks)

    def split(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        return list(matrices)

    def joined(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        return list(blocks)


class Halved(Layout):
    """The layout of logistic regression on two classes: half the difference of the rows of its weights, and their mean.

    The loss depends on the difference alone, and the gradients of the two rows are opposite. So half the difference
    has the gradient of the second row, moves as that row does, and takes half as many multiplications; the mean moves
    by noise only. This holds for optimizers that are linear in the gradients, and for all others if there is no noise.
    """

    output = DifferenceOutput()
    layers = 1

    def __init__(self, widths: Sequence[int], names: Sequence[tuple[str, str]]) -> None:
        super().__init__(widths, names)
        self.blocks = [(1, self._columns[0])] * 2

    @staticmethod
    def fits(widths: Sequence[int], optimizer: Optimizer, shapers: Sequence[Shaper]) -> bool:
        """Return whether a stack with layer widths ``widths``, inputs left out, can be laid out like this."""
        linear = isinstance(optimizer, SGD) or not any(shaper.noisy for shaper in shapers)
        return tuple(widths) == (2,) and linear

    def split(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        first, second = matrices[0].split(1, dim=-2)
        return [(second - first).div_(2), (second + first).div_(2)]

    def joined(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        half, mean = blocks
        return [torch.cat([mean - half, mean + half], dim=-2)]


def layout_of(
    widths: Sequence[int],
    names: Sequence[tuple[str, str]],
    optimizer: Optimizer,
    shapers: Sequence[Shaper],
    *,
    moments: bool = False,
) -> Layout:
    """Choose the layout of the victims of one stack.

    Args:
        widths, names: as for :class:`Layout`.
        optimizer, shapers: those of the victims.
        moments: whether the optimizer's moments are read or written: they have the form of the parameters, layer by
            layer.
    """
    halved = Halved.fits(widths[1:], optimizer, shapers) and not moments
    return (Halved if halved else Plain)(widths, names)
