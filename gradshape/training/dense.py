"""Plain ReLU networks of ``K`` victims as one network with a victim axis.

The shared rows of a batch go through one matrix product for all victims, private rows through a small batched
one. The backward pass is written out: for a layer with inputs ``a`` (a constant 1 appended for the bias) and
output gradients ``D``, sample ``i`` has the squared gradient norm ``|a_i|^2 |D_i|^2`` (Goodfellow 2015,
"Efficient per-example gradient computations"), so shaping costs a few passes over ``D`` and no per-sample
gradient is ever formed.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gradshape.shaping import ShaperStack
from gradshape.training.victim import State

# Below this width matrix products take other kernels on CPUs, which round differently. Stacks are filled up
# to it with idle victims, so that a victim's numbers do not depend on how many others are trained beside it.
_LEAST_WIDTH = 16
# Optimizers round the elements that are left after the last full vector differently.
_VECTOR = 64
# Rows whose squares are taken at a time, to bound memory.
_BLOCK_ROWS = 1024


def lanes_needed(victims: int, widths: Sequence[int]) -> int:
    """Number of victims, idle ones included, of a stack of networks with layer widths ``widths``."""
    least = -(-_LEAST_WIDTH // widths[1])
    return max(victims, least if len(widths) == 2 else max(2, least))


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
    """

    def __init__(
        self,
        widths: Sequence[int],
        names: Sequence[tuple[str, str]],
        lanes: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._names = list(names)
        self._shapes = list(itertools.pairwise(widths))
        self.lanes = lanes
        self.widest = max(widths[1:])
        self.parameters_per_victim = sum((inputs + 1) * outputs for inputs, outputs in self._shapes)
        self._best: Tensor | None = None
        self._use(torch.zeros(self._size(lanes), device=device, dtype=dtype))

    def _size(self, lanes: int) -> int:
        return -(-lanes * self.parameters_per_victim // _VECTOR) * _VECTOR

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.gradient = torch.zeros_like(parameter)
        self._weights, self._biases = self._views(self.parameter, self.lanes)
        self._weight_grads, self._bias_grads = self._views(self.gradient, self.lanes)

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
        offset = 0
        weights, biases = [], []
        for layer, (inputs, outputs) in enumerate(self._shapes):
            count = lanes * (inputs + 1) * outputs
            chunk = flat[offset : offset + count]
            if layer == 0:
                whole = chunk.view(inputs + 1, lanes, outputs)
                weights.append(whole[:-1].permute(1, 0, 2))
                biases.append(whole[-1:].permute(1, 0, 2))
            else:
                weights.append(chunk[: lanes * inputs * outputs].view(lanes, inputs, outputs))
                biases.append(chunk[lanes * inputs * outputs :].view(lanes, 1, outputs))
            offset += count
        return weights, biases

    def _first(self, flat: Tensor) -> Tensor:
        inputs, outputs = self._shapes[0]
        return flat[: (inputs + 1) * self.lanes * outputs].view(inputs + 1, self.lanes, outputs)

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
        """Set the gradient to the shaped mean over each victim's batch, noise excluded.

        Args:
            shared: ``B`` rows that all victims see.
            private: ``(K, S)`` rows, or ``None``.
            member: ``(K, B + S)``: 1 where the row is in the victim's batch, else 0; ``None`` if all are.
            rows_per_step: number of rows in each victim's batch.
            shaping: shapers of the ``K`` victims.
        """
        shared_rows, hidden = len(shared), self._shapes[0][1]
        first = self._first(self.parameter)
        out = torch.mm(shared.x, first.flatten(1)).view(shared_rows, self.lanes, hidden).permute(1, 0, 2)
        if private is not None:
            own = torch.bmm(private.x, first.permute(1, 0, 2))
            out = torch.cat([out, own], dim=1)
        inputs, out = self._hidden_forward(out)
        deltas = self._backward(inputs, _softmax(out) - _targets(shared, private))

        scale = None if member is None else member * (1 / rows_per_step)
        if shaping.needs_norms:
            squares = _squares(shared, private, inputs, deltas, per_layer=shaping.per_layer)
            weights = shaping.weights(squares, member)
            shaping.observe(squares, member)
            scale = weights.mul_(1 / rows_per_step) if scale is None else weights.mul_(scale)
        for layer, delta in enumerate(deltas):
            if scale is None:
                delta.mul_(1 / rows_per_step)
            else:
                delta.mul_((scale if scale.dim() == 2 else scale[layer]).unsqueeze(2))

        first_grad = self._first(self.gradient)
        by_rows = deltas[0].permute(1, 0, 2)
        torch.mm(shared.x.T, by_rows[:shared_rows].reshape(shared_rows, self.lanes * hidden), out=first_grad.flatten(1))
        if private is not None:
            own = torch.bmm(private.x.transpose(1, 2), deltas[0][:, shared_rows:])
            first_grad.add_(own.permute(1, 0, 2))
        for layer, (a, delta) in enumerate(zip(inputs, deltas[1:], strict=True), start=1):
            torch.bmm(a.transpose(1, 2), delta, out=self._weight_grads[layer])
            torch.sum(delta, dim=1, keepdim=True, out=self._bias_grads[layer])

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
        gradients = [self._first(self.gradient), *self._pairs(self._weight_grads, self._bias_grads)]
        for layer, (to, part) in enumerate(zip(gradients, parts, strict=True)):
            own = to[:, :victims] if layer == 0 else to[:victims]
            if scale is None:
                own.add_(part[step])
            else:
                own.addcmul_(part[step], scale.view((1, -1, 1) if layer == 0 else (-1, 1, 1)))

    @staticmethod
    def _pairs(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
        return [part for pair in zip(weights[1:], biases[1:], strict=True) for part in pair]

    def logits(self, x: Tensor) -> Tensor:
        """``(M, d + 1)`` rows, a constant 1 appended, to the logits ``(K, M, C)`` of every victim."""
        out = torch.mm(x, self._first(self.parameter).flatten(1))
        _, out = self._hidden_forward(out.view(len(x), self.lanes, -1).permute(1, 0, 2))
        return out

    def own_logits(self, x: Tensor) -> Tensor:
        """``(K, M, d + 1)`` rows, each victim's own, to their logits ``(K, M, C)``."""
        _, out = self._hidden_forward(torch.bmm(x, self._first(self.parameter).permute(1, 0, 2)))
        return out

    def _hidden_forward(self, out: Tensor) -> tuple[list[Tensor], Tensor]:
        inputs = []
        for weight, bias in zip(self._weights[1:], self._biases[1:], strict=True):
            inputs.append(out.relu_())
            out = torch.baddbmm(bias, out, weight)
        return inputs, out

    def _backward(self, inputs: Sequence[Tensor], delta: Tensor) -> list[Tensor]:
        deltas = [delta]
        for a, weight in zip(reversed(inputs), reversed(self._weights[1:]), strict=True):
            deltas.append(torch.bmm(deltas[-1], weight.transpose(1, 2)).mul_(a > 0))
        return deltas[::-1]


def _softmax(logits: Tensor) -> Tensor:
    # Softmax returns a contiguous tensor; on a single layer's (B, K, C) memory keep that order.
    if logits.is_contiguous():
        return logits.softmax(2)
    return logits.permute(1, 0, 2).softmax(2).permute(1, 0, 2)


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
    squares = [of_inputs * deltas[0].square().sum(2)]
    for a, delta in zip(inputs, deltas[1:], strict=True):
        of_layer = (a.square().sum(2) + 1) * delta.square().sum(2)
        if per_layer:
            squares.append(of_layer)
        else:
            squares[0] += of_layer
    return torch.stack(squares) if per_layer else squares[0].unsqueeze(0)
