"""Plain ReLU networks of ``K`` victims as one network with a victim axis.

The shared rows of a batch go through one matrix product for all victims, private rows through a small batched
one. The backward pass is written out: for a layer with inputs ``a`` (a constant 1 appended for the bias) and
output gradients ``D``, sample ``i`` has the squared gradient norm ``|a_i|^2 |D_i|^2`` (Goodfellow 2015,
"Efficient per-example gradient computations"), so shaping costs a few passes over ``D`` and no per-sample
gradient is ever formed.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gradshape.shaping import ShaperStack
from gradshape.training.victim import State

# Below this width matrix products take other kernels on CPUs, which round differently. Stacks are filled up
# to it with idle victims, so that a victim's numbers do not depend on how many others are trained beside it.
_LEAST_WIDTH = 16
# Elements that the place of a layer's parameters is a multiple of: kernels also differ by alignment.
_ALIGNED = 16
# Optimizers round the elements that are left after the last full vector differently.
_VECTOR = 64
# Rows whose squares are taken at a time, to bound memory.
_BLOCK_ROWS = 1024


def lanes_needed(victims: int, widths: Sequence[int]) -> int:
    """Number of victims, idle ones included, of a stack of networks with layer widths ``widths``."""
    return max(victims, -(-_LEAST_WIDTH // widths[1]))


class Rows:
    """Training rows as one matrix, so that the rows of a batch are gathered in one pass.

    Attributes:
        x: ``(..., d + 1)`` flattened rows with a constant 1 appended.
        squared: ``(...,)`` squared norms of the rows of ``x``.
        target: ``(..., C)`` one-hot labels.
    """

    def __init__(self, matrix: Tensor, inputs: int) -> None:
        self._matrix = matrix
        self._inputs = inputs
        self.x = matrix[..., : inputs + 1]
        self.squared = matrix[..., inputs + 1]
        self.target = matrix[..., inputs + 2 :]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, num_classes: int, *, dtype: torch.dtype, device: torch.device) -> "Rows":
        """The rows ``x (N, *shape)``, ``y (N,)``."""
        inputs = x[0].numel()
        matrix = torch.empty(len(x), inputs + 2 + num_classes, dtype=dtype, device=device)
        rows = cls(matrix, inputs)
        rows.x[:, :-1] = x.flatten(1)
        rows.x[:, -1] = 1
        for part, squared in zip(rows.x.split(_BLOCK_ROWS), rows.squared.split(_BLOCK_ROWS), strict=True):
            torch.sum(part.square(), dim=1, out=squared)
        rows.target.zero_().scatter_(1, y.to(device).unsqueeze(1), 1)
        return rows

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, ids: Tensor) -> "Rows":
        """The rows with these ids, of any shape."""
        flat = ids.flatten().to(self._matrix.device)
        return Rows(self._matrix.index_select(0, flat).unflatten(0, ids.shape), self._inputs)


class DenseStack:
    """Parameters, gradients and steps of a stack of networks with layer widths ``widths``.

    Args:
        widths: inputs, hidden layers, classes.
        names: names ``(weight, bias)`` of each layer's parameters in a victim's state.
        lanes: number ``K`` of victims, idle ones included.
        descent: learning rate of plain gradient descent, which the stack then does itself: products are added to the
            parameters at once, which saves writing and reading a gradient as large as they are. ``None`` to leave the
            gradient in :attr:`gradient`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        names: Sequence[tuple[str, str]],
        lanes: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        descent: float | None = None,
    ) -> None:
        self._names = list(names)
        self._shapes = list(itertools.pairwise(widths))
        self.lanes = lanes
        self.widest = max(widths[1:])
        self.parameters_per_victim = sum((inputs + 1) * outputs for inputs, outputs in self._shapes)
        self._descent = descent
        self._best: Tensor | None = None
        self._scratch: dict[str, Tensor] = {}
        self._use(torch.zeros(self._size(lanes), device=device, dtype=dtype))

    @property
    def descends(self) -> bool:
        """Whether :meth:`step` and :meth:`add_noise` move the parameters."""
        return self._descent is not None

    def _size(self, lanes: int) -> int:
        size = sum(_aligned(lanes * count) for of_layer in self._counts() for count in of_layer)
        return -(-size // _VECTOR) * _VECTOR

    def _counts(self) -> list[tuple[int, int]]:
        """Elements of one victim's weights and biases of every layer, the first layer's together."""
        (inputs, outputs), *others = self._shapes
        return [((inputs + 1) * outputs, 0), *((inputs * outputs, outputs) for inputs, outputs in others)]

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        # Where products go, and what is there already is kept.
        self.gradient = parameter if self._descent is not None else torch.zeros_like(parameter)
        self._weights, self._biases = self._views(self.parameter, self.lanes)
        self._weight_grads, self._bias_grads = self._views(self.gradient, self.lanes)
        self._scratch.clear()

    def keep(self, lanes: Tensor) -> Callable[[Tensor], Tensor]:
        """Go on with these lanes only, in this order: :attr:`parameter` and :attr:`gradient` are then other tensors.

        Returns:
            What takes from another flat tensor of the old form, such as an optimizer's moment, what belongs to the new.
        """
        old = self.lanes

        def select(flat: Tensor) -> Tensor:
            fewer = flat.new_zeros(self._size(len(lanes)))
            for to_all, from_all in zip(self._views(fewer, len(lanes)), self._views(flat, old), strict=True):
                for to, source in zip(to_all, from_all, strict=True):
                    to.copy_(source[lanes])
            return fewer

        self._best = None if self._best is None else select(self._best)
        parameter = select(self.parameter)
        self.lanes = len(lanes)
        self._use(parameter)
        return select

    def _views(self, flat: Tensor, lanes: int) -> tuple[list[Tensor], list[Tensor]]:
        # The first layer lies as (inputs + 1, K, outputs), so that it is one matrix for the shared rows; its last row
        # is the bias. Later layers lie as (K, inputs, outputs) and (K, 1, outputs).
        (inputs, outputs), *others = self._shapes
        first = self._first(flat, lanes)
        weights, biases = [first[:-1].permute(1, 0, 2)], [first[-1:].permute(1, 0, 2)]
        offset = _aligned(first.numel())
        for inputs, outputs in others:
            count = lanes * inputs * outputs
            weights.append(flat[offset : offset + count].view(lanes, inputs, outputs))
            offset += _aligned(count)
            biases.append(flat[offset : offset + lanes * outputs].view(lanes, 1, outputs))
            offset += _aligned(lanes * outputs)
        return weights, biases

    def _first(self, flat: Tensor, lanes: int) -> Tensor:
        inputs, outputs = self._shapes[0]
        return flat[: (inputs + 1) * lanes * outputs].view(inputs + 1, lanes, outputs)

    def load(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Set one victim's parameters."""
        for (weight, bias), to_weight, to_bias in zip(self._names, self._weights, self._biases, strict=True):
            to_weight[lane].copy_(state[weight].T)
            to_bias[lane, 0].copy_(state[bias])

    def state(self, lane: int) -> State:
        """A copy of one victim's parameters, on the CPU."""
        return self._state(lane, self._weights, self._biases)

    def best_state(self, lane: int) -> State:
        """A copy of what one victim's parameters were at its last :meth:`mark_best`."""
        if self._best is None:
            return self.state(lane)
        return self._state(lane, *self._views(self._best, self.lanes))

    def _state(self, lane: int, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> State:
        state = {}
        for (weight, bias), from_weight, from_bias in zip(self._names, weights, biases, strict=True):
            state[weight] = from_weight[lane].T.contiguous().cpu()
            state[bias] = from_bias[lane, 0].clone().cpu()
        return state

    def mark_best(self, lanes: Tensor) -> None:
        """Remember the present parameters of ``lanes`` (int64 indices) as their best."""
        if self._best is None:
            self._best = self.parameter.clone()
            return
        for kept, now in zip(self._views(self._best, self.lanes), (self._weights, self._biases), strict=True):
            for to, source in zip(kept, now, strict=True):
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
        first = self._first(self.parameter, self.lanes)
        out = self._buffer("out 0", len(shared), self.lanes, self._shapes[0][1])
        torch.mm(shared.x, first.flatten(1), out=out.flatten(1))
        out = out.permute(1, 0, 2)
        if private is not None:
            out = torch.cat([out, torch.bmm(private.x, first.permute(1, 0, 2))], dim=1)
        inputs, out = self._hidden_forward(out, "out")
        deltas = self._backward(inputs, self._errors(out, _targets(shared, private)))

        unit = (1.0 if self._descent is None else -self._descent) / rows_per_step
        scale = None if member is None else member * unit
        if shaping.needs_norms:
            squares = _squares(shared, private, inputs, deltas, per_layer=shaping.per_layer)
            weights = shaping.weights(squares, member)
            shaping.observe(squares, member)
            scale = weights.mul_(unit if scale is None else scale)
        for layer, delta in enumerate(deltas):
            if scale is None:
                delta.mul_(unit)
            else:
                delta.mul_((scale if scale.dim() == 2 else scale[layer]).unsqueeze(2))
        self._add_products(shared, private, inputs, deltas)

    def _add_products(
        self, shared: Rows, private: Rows | None, inputs: Sequence[Tensor], deltas: Sequence[Tensor]
    ) -> None:
        # A gradient is overwritten, parameters are added to.
        kept = 0 if self._descent is None else 1
        first = self._first(self.gradient, self.lanes)
        of_shared = deltas[0][:, : len(shared)].permute(1, 0, 2)
        by_rows = of_shared.reshape(len(shared), self.lanes * self._shapes[0][1])
        first.flatten(1).addmm_(shared.x.T, by_rows, beta=kept)
        if private is not None:
            own = torch.bmm(private.x.transpose(1, 2), deltas[0][:, len(shared) :])
            first.add_(own.permute(1, 0, 2))
        for layer, (a, delta) in enumerate(zip(inputs, deltas[1:], strict=True), start=1):
            self._weight_grads[layer].baddbmm_(a.transpose(1, 2), delta, beta=kept)
            if kept:
                self._bias_grads[layer].add_(delta.sum(1, keepdim=True))
            else:
                torch.sum(delta, dim=1, keepdim=True, out=self._bias_grads[layer])

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Memory that the next step reuses, so that it is not given back and page-faulted in again."""
        size = math.prod(shape)
        kept = self._scratch.get(name)
        if kept is None or kept.numel() < size:
            kept = self._scratch[name] = self.parameter.new_empty(size)
        return kept[:size].view(shape)

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """Draws ``(T, n, P)``, each flat in the order of a victim's state, in the form that :meth:`add_noise` takes."""
        parts, offset = [], 0
        for layer, (inputs, outputs) in enumerate(self._shapes):
            weight = draws[:, :, offset : offset + inputs * outputs].unflatten(2, (outputs, inputs))
            offset += inputs * outputs
            bias = draws[:, :, offset : offset + outputs]
            offset += outputs
            if layer == 0:
                whole = torch.cat([weight, bias.unsqueeze(3)], dim=3)
                parts.append(whole.permute(0, 3, 1, 2).contiguous())
            else:
                parts += [weight.transpose(2, 3).contiguous(), bias.unsqueeze(2)]
        return parts

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """Add step number ``step`` of laid out draws, times ``scale (n,)``, to the first ``n`` victims' gradients."""
        victims = parts[0].shape[2]
        unit = 1.0 if self._descent is None else -self._descent
        gradients = [self._first(self.gradient, self.lanes), *self._pairs(self._weight_grads, self._bias_grads)]
        for layer, (to, part) in enumerate(zip(gradients, parts, strict=True)):
            own = to[:, :victims] if layer == 0 else to[:victims]
            if scale is None:
                own.add_(part[step], alpha=unit)
            else:
                own.addcmul_(part[step], scale.view((1, -1, 1) if layer == 0 else (-1, 1, 1)), value=unit)

    @staticmethod
    def _pairs(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
        return [part for pair in zip(weights[1:], biases[1:], strict=True) for part in pair]

    def logits(self, x: Tensor) -> Tensor:
        """``(M, d + 1)`` rows, a constant 1 appended, to the logits ``(K, M, C)`` of every victim."""
        out = torch.mm(x, self._first(self.parameter, self.lanes).flatten(1))
        _, out = self._hidden_forward(out.view(len(x), self.lanes, -1).permute(1, 0, 2), None)
        return out

    def own_logits(self, x: Tensor) -> Tensor:
        """``(K, M, d + 1)`` rows, each victim's own, to their logits ``(K, M, C)``."""
        first = self._first(self.parameter, self.lanes).permute(1, 0, 2)
        _, out = self._hidden_forward(torch.bmm(x, first), None)
        return out

    def _hidden_forward(self, out: Tensor, buffers: str | None) -> tuple[list[Tensor], Tensor]:
        inputs = []
        for layer, (weight, bias) in enumerate(zip(self._weights[1:], self._biases[1:], strict=True), start=1):
            inputs.append(out.relu_())
            shape = (*out.shape[:2], weight.shape[2])
            to = None if buffers is None else self._buffer(f"{buffers} {layer}", *shape)
            out = torch.baddbmm(bias, out, weight, out=to)
        return inputs, out

    def _errors(self, logits: Tensor, targets: Tensor) -> Tensor:
        """``(K, R, C)`` softmax less the one-hot labels."""
        # A single layer's logits lie as (R, K, C): keep that order.
        in_order = logits if logits.is_contiguous() else logits.permute(1, 0, 2)
        errors = self._buffer("errors", *in_order.shape)
        by_victim = errors if in_order is logits else errors.permute(1, 0, 2)
        if logits.shape[2] != 2:
            torch.softmax(in_order, 2, out=errors)
            return by_victim.sub_(targets)
        # Softmax over two classes is slow, and a sigmoid. It is taken over whole vectors, as the elements that are left
        # after the last one are rounded differently.
        count = errors.numel() // 2
        padded = self._buffer("second class", -(-count // _VECTOR) * _VECTOR)
        padded[count:] = 0
        second = padded[:count].view(errors.shape[:2])
        torch.sub(in_order[..., 1], in_order[..., 0], out=second)
        padded.sigmoid_()
        of_victims = second if in_order is logits else second.T
        of_victims.sub_(targets[..., 1])
        by_victim[..., 1] = of_victims
        by_victim[..., 0] = -of_victims
        return by_victim

    def _backward(self, inputs: Sequence[Tensor], delta: Tensor) -> list[Tensor]:
        deltas = [delta]
        for layer, (a, weight) in reversed(list(enumerate(zip(inputs, self._weights[1:], strict=True)))):
            above = torch.bmm(deltas[-1], weight.transpose(1, 2), out=self._buffer("above", *a.shape))
            # By rows like the layer's outputs: the first layer's product takes them so.
            below = self._buffer(f"delta {layer}", a.shape[1], a.shape[0], a.shape[2]).permute(1, 0, 2)
            torch.ops.aten.threshold_backward.grad_input(above, a, 0, grad_input=below)
            deltas.append(below)
        return deltas[::-1]


def _aligned(count: int) -> int:
    return -(-count // _ALIGNED) * _ALIGNED


def _targets(shared: Rows, private: Rows | None) -> Tensor:
    if private is None:
        return shared.target
    lanes = len(private.target)
    return torch.cat([shared.target.expand(lanes, -1, -1), private.target], dim=1)


def _squares(
    shared: Rows, private: Rows | None, inputs: Sequence[Tensor], deltas: Sequence[Tensor], *, per_layer: bool
) -> Tensor:
    """Squared norms of the per-sample gradients, ``(L, K, R)`` if ``per_layer``, else ``(1, K, R)`` of all layers."""
    of_inputs = shared.squared
    if private is not None:
        of_inputs = torch.cat([of_inputs.expand(len(private.squared), -1), private.squared], dim=1)
    squares = [of_inputs * _row_squares(deltas[0])]
    for a, delta in zip(inputs, deltas[1:], strict=True):
        of_layer = (_row_squares(a) + 1).mul_(_row_squares(delta))
        if per_layer:
            squares.append(of_layer)
        else:
            squares[0] += of_layer
    return torch.stack(squares) if per_layer else squares[0].unsqueeze(0)


def _row_squares(rows: Tensor) -> Tensor:
    """``(K, R, n)`` to ``(K, R)``."""
    if rows.shape[2] == 2:
        return rows[..., 0].square().addcmul_(rows[..., 1], rows[..., 1])
    norms: Tensor = torch.linalg.vector_norm(rows, dim=2)
    return norms.square_()
