"""Plain ReLU networks of ``K`` victims as one network with a victim axis.

The shared rows of a batch go through one matrix product for all victims, private rows through a small batched
one. The backward pass is written out: for a layer with inputs ``a`` (a constant 1 appended for the bias) and
output gradients ``D``, sample ``i`` has the squared gradient norm ``|a_i|^2 |D_i|^2`` (Goodfellow 2015,
"Efficient per-example gradient computations"), so shaping costs a few passes over ``D`` and no per-sample
gradient is ever formed.

On CPUs the victims take their steps in groups whose parameters fit the cache, so that these come from memory once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from gradshape.shaping import ShaperStack
from gradshape.training.heads import VECTOR
from gradshape.training.layout import Layout
from gradshape.training.rows import LEAST_WIDTH, Rows, aligned
from gradshape.training.victim import State

# Bytes of the parameters of victims that take a step together on a CPU.
_GROUP_BYTES = 6 << 20


def lanes_needed(victims: int, layout: Layout) -> int:
    """Number of victims, idle ones included, of a stack of networks.

    On CPUs it has so many that their numbers do not depend on it, see :mod:`gradshape.training.rows`.
    """
    return max(victims, -(-LEAST_WIDTH // layout.blocks[0][0]))


@dataclass(frozen=True, eq=False)
class _Group:
    """Victims that take a step together: which they are, and their parts of the blocks that products go into."""

    lanes: slice
    weights: list[Tensor]
    gradients: list[Tensor]


class DenseStack:
    """Parameters, gradients and steps of a stack of networks.

    Args:
        layout: where parameters lie.
        lanes: number ``K`` of victims, idle ones included.
        descent: learning rate of plain gradient descent, which the stack then does itself: products are added to the
            parameters at once, which saves writing and reading a gradient as large as they are. ``None`` to leave the
            gradient in :attr:`gradient`.

    Attributes:
        lanes: as given.
        parameter: all parameters, flat.
        gradient: the gradient of the last step in the same form; the parameters themselves if there is a ``descent``.
    """

    def __init__(
        self,
        layout: Layout,
        lanes: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        descent: float | None = None,
    ) -> None:
        self._layout = layout
        self._head, self._layers = layout.head, layout.layers
        self.lanes = lanes
        self.widest = max(outputs for outputs, _ in layout.blocks)
        self.parameters_per_victim = layout.parameters
        self._descent = descent
        self._best: Tensor | None = None
        self._scratch: dict[str, Tensor] = {}
        self._use(torch.zeros(layout.size(lanes), device=device, dtype=dtype))

    @property
    def descends(self) -> bool:
        """Whether :meth:`step` and :meth:`add_noise` move the parameters."""
        return self._descent is not None

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        # Where products go, and what is there already is kept.
        self.gradient = parameter if self._descent is not None else torch.zeros_like(parameter)
        self._blocks = self._layout.views(self.parameter, self.lanes)
        self._block_grads = self._layout.views(self.gradient, self.lanes)
        self._scratch.clear()
        per_victim = parameter.element_size() * sum(map(math.prod, self._layout.blocks))
        groups = -(-self.lanes * per_victim // _GROUP_BYTES) if parameter.device.type == "cpu" else 1
        size = -(-self.lanes // groups)
        self._whole = self._group(0, self.lanes)
        self._groups = [self._group(start, min(start + size, self.lanes)) for start in range(0, self.lanes, size)]

    def _group(self, start: int, stop: int) -> "_Group":
        weights, gradients = (
            [block[start:stop] for block in blocks[: self._layers]] for blocks in (self._blocks, self._block_grads)
        )
        return _Group(slice(start, stop), weights, gradients)

    def keep(self, lanes: Tensor) -> Callable[[Tensor], Tensor]:
        """Go on with these lanes only, in this order: :attr:`parameter` and :attr:`gradient` are then other tensors.

        Returns:
            What takes from another flat tensor of the old form, such as an optimizer's moment, what belongs to the new.
        """
        old = self.lanes

        def select(flat: Tensor) -> Tensor:
            fewer = flat.new_zeros(self._layout.size(len(lanes)))
            blocks = zip(self._layout.views(fewer, len(lanes)), self._layout.views(flat, old), strict=True)
            for to, source in blocks:
                to.copy_(source[lanes])
            return fewer

        self._best = None if self._best is None else select(self._best)
        parameter = select(self.parameter)
        self.lanes = len(lanes)
        self._use(parameter)
        return select

    def load(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Set one victim's parameters."""
        matrices = [matrix.to(self.parameter) for matrix in self._layout.matrices(state)]
        for to, block in zip(self._blocks, self._layout.split(matrices), strict=True):
            to[lane].copy_(block)

    def state(self, lane: int) -> State:
        """A copy of one victim's parameters, on the CPU."""
        return self._state(lane, self._blocks)

    def best_state(self, lane: int) -> State:
        """A copy of what one victim's parameters were at its last :meth:`mark_best`."""
        return self._state(lane, self._blocks if self._best is None else self._layout.views(self._best, self.lanes))

    def _state(self, lane: int, blocks: Sequence[Tensor]) -> State:
        return self._layout.named(self._layout.joined([block[lane] for block in blocks]))

    def mark_best(self, lanes: Tensor) -> None:
        """Remember the present parameters of ``lanes`` (int64 indices) as their best."""
        if self._best is None:
            self._best = self.parameter.clone()
            return
        for to, source in zip(self._layout.views(self._best, self.lanes), self._blocks, strict=True):
            to[lanes] = source[lanes]

    def step(
        self, shared: Rows, private: Rows | None, member: Tensor | None, rows_per_step: int, shaping: ShaperStack
    ) -> None:
        """Set the gradient to the shaped mean over each victim's batch, noise excluded; or descend along it.

        Args:
            shared: ``B`` rows that all victims see.
            private: ``(K, S)`` rows, or ``None``.
            member: ``(K, B + S)``: 1 where the row is in the victim's batch, else 0; ``None`` if all are.
            rows_per_step: number of rows in each victim's batch.
            shaping: shapers of the ``K`` victims.
        """
        unit = (1.0 if self._descent is None else -self._descent) / rows_per_step
        scale = None if member is None else member * unit
        for group in self._groups if shaping.separable else [self._whole]:
            self._step(
                group,
                shared,
                None if private is None else private.part(group.lanes),
                None if member is None else member[group.lanes],
                unit if scale is None else scale[group.lanes],
                shaping,
            )

    def _step(
        self,
        group: "_Group",
        shared: Rows,
        private: Rows | None,
        member: Tensor | None,
        scale: float | Tensor,
        shaping: ShaperStack,
    ) -> None:
        inputs, out = self._forward(group.weights, shared.x, None if private is None else private.x, self._buffer)
        rows = len(shared) + (0 if private is None else private.x.shape[1])
        filled = out.shape[2] - rows
        labels = _labels(shared, private)
        deltas = self._backward(
            group.weights,
            inputs,
            self._head.errors(out, pad(labels, (0, filled)) if filled else labels, self._buffer),
        )
        if shaping.needs_norms:
            squares = self._squares(shared, private, inputs, deltas, rows, per_layer=shaping.per_layer)
            of_norms = shaping.weights(squares, member, lanes=group.lanes)
            shaping.observe(squares, member)
            scale = of_norms.mul_(scale)
        if filled:
            scale = pad(labels.new_full((1, rows), scale) if isinstance(scale, float) else scale, (0, filled))
        for layer, delta in enumerate(deltas):
            if isinstance(scale, float):
                delta.mul_(scale)
            else:
                delta.mul_((scale if scale.dim() == 2 else scale[layer]).unsqueeze(1))
        self._add_products(group.gradients, shared, private, inputs, deltas)

    def _add_products(
        self,
        gradients: Sequence[Tensor],
        shared: Rows,
        private: Rows | None,
        inputs: Sequence[Tensor],
        deltas: Sequence[Tensor],
    ) -> None:
        # A gradient is overwritten, parameters are added to.
        kept = 0 if self._descent is None else 1
        first, *others = gradients
        count = len(shared)
        first.flatten(0, 1).addmm_(deltas[0].flatten(0, 1)[:, :count], shared.x, beta=kept)
        if private is not None:
            first.baddbmm_(deltas[0][:, :, count : count + private.x.shape[1]], private.x)
        for gradient, a, delta in zip(others, inputs, deltas[1:], strict=True):
            gradient.baddbmm_(delta, a.mT, beta=kept)

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Memory that the next step reuses, so that it is not given back and page-faulted in again."""
        size = math.prod(shape)
        kept = self._scratch.get(name)
        if kept is None or kept.numel() < size:
            # Whole vectors, see :data:`gradshape.training.heads.VECTOR`.
            kept = self._scratch[name] = self.parameter.new_zeros(aligned(size, VECTOR))
        return kept[:size].view(shape)

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """Add step number ``step`` of laid out draws, times ``scale (n,)``, to the first ``n`` victims' gradients."""
        victims = parts[0].shape[1]
        for block, (gradient, part) in enumerate(zip(self._block_grads, parts, strict=True)):
            own = gradient[:victims]
            if block >= self._layers and self._descent is None:
                # No product has overwritten the noise of the step before.
                own.zero_()
            # Multiplied first, and not by the addition: that rounds once or twice, depending on the element's place.
            own.add_(part[step] if scale is None else part[step] * scale.view(-1, 1, 1))

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """Draws ``(T, n, P)``, each flat in the order of a victim's state, in the form that :meth:`add_noise` takes."""
        parts = self._layout.drawn(draws)
        if self._descent is not None:
            for part in parts:
                part.mul_(-self._descent)
        return parts

    def predict(self, x: Tensor) -> Tensor:
        """Rows as in :attr:`Rows.x` ``(M, n)`` to the classes ``(K, M)`` that the victims take them for.

        -1 where a logit is not finite.
        """
        _, out = self._forward(self._whole.weights, x, None, _new_like(self.parameter))
        return self._head.classes(out[:, :, : len(x)])

    def predict_own(self, x: Tensor) -> Tensor:
        """``(K, M, n)`` rows, each victim's own, to their classes ``(K, M)``."""
        _, out = self._forward(self._whole.weights, x[0, :0], x, _new_like(self.parameter))
        return self._head.classes(out[:, :, : x.shape[1]])

    def _forward(
        self, weights: Sequence[Tensor], shared: Tensor, private: Tensor | None, buffer: Callable[..., Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Inputs ``(K, n + 1, R)`` of the layers after the first, a constant 1 appended, and the outputs ``(K, n, R)``.

        ``R`` is the number of rows, filled up.
        """
        victims, count = len(weights[0]), len(shared)
        used = count if private is None else count + private.shape[1]
        rows = aligned(used)
        out = buffer("out 0", victims, weights[0].shape[1], rows)
        _outputs(weights[0].flatten(0, 1), shared, out=out.flatten(0, 1)[:, :count])
        if private is not None:
            out[:, :, count:used] = torch.bmm(weights[0], private.mT)
        if used < rows:
            out[:, :, used:] = 0
        inputs = []
        for layer, weight in enumerate(weights[1:], start=1):
            a = buffer(f"in {layer}", victims, weight.shape[2], rows)
            torch.clamp_min(out, 0, out=a[:, :-1])
            a[:, -1] = 1
            inputs.append(a)
            out = torch.bmm(weight, a, out=buffer(f"out {layer}", victims, weight.shape[1], rows))
        return inputs, out

    def _backward(self, weights: Sequence[Tensor], inputs: Sequence[Tensor], delta: Tensor) -> list[Tensor]:
        deltas = [delta]
        for layer, (a, weight) in reversed(list(enumerate(zip(inputs, weights[1:], strict=True)))):
            units = a[:, :-1]
            below = torch.bmm(weight[:, :, :-1].mT, deltas[-1], out=self._buffer(f"delta {layer}", *units.shape))
            deltas.append(torch.ops.aten.threshold_backward.grad_input(below, units, 0, grad_input=below))
        return deltas[::-1]

    def _squares(
        self,
        shared: Rows,
        private: Rows | None,
        inputs: Sequence[Tensor],
        deltas: Sequence[Tensor],
        rows: int,
        *,
        per_layer: bool,
    ) -> Tensor:
        """Squared norms of the first ``rows`` per-sample gradients ``(L, K, rows)``; all layers together in ``L = 1``,
        unless ``per_layer``.
        """
        of_inputs = shared.squared
        if private is not None:
            of_inputs = torch.cat([of_inputs.expand(len(private.squared), -1), private.squared], dim=1)
        *hidden, errors = deltas
        of_outputs = [*map(self._columns, hidden), self._head.squares(errors, self._columns)]
        squares = [of_outputs[0][:, :rows] * of_inputs]
        for a, of_output in zip(inputs, of_outputs[1:], strict=True):
            of_layer = self._columns(a)[:, :rows] * of_output[:, :rows]
            if per_layer:
                squares.append(of_layer)
            else:
                squares[0] += of_layer
        return torch.stack(squares) if per_layer else squares[0].unsqueeze(0)

    def _columns(self, matrices: Tensor) -> Tensor:
        """``(K, n, R)`` to the squared norms ``(K, R)`` of the columns."""
        return torch.mul(matrices, matrices, out=self._buffer("squares", *matrices.shape)).sum(1)


def _outputs(weights: Tensor, x: Tensor, *, out: Tensor) -> None:
    """``weights x^T`` of ``(M, n)`` and ``(B, n)``."""
    if len(x) < LEAST_WIDTH:
        out.copy_(torch.mm(weights, pad(x, (0, 0, 0, LEAST_WIDTH - len(x))).T)[:, : len(x)])
    elif out.is_contiguous():
        torch.mm(weights, x.T, out=out)
    else:
        out.copy_(torch.mm(weights, x.T))


def _new_like(parameter: Tensor) -> Callable[..., Tensor]:
    return lambda name, *shape: parameter.new_empty(shape)


def _labels(shared: Rows, private: Rows | None) -> Tensor:
    if private is None:
        return shared.label
    return torch.cat([shared.label.expand(len(private.label), -1), private.label], dim=1)
