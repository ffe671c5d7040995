"""Plain ReLU networks of ``K`` victims as one network with a victim axis.

The shared rows of a batch go through one matrix product for all victims, private rows through a small batched one.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gradshape.shaping import ShaperStack
from gradshape.training.heads import VECTOR, Buffer
from gradshape.training.layout import Layout
from gradshape.training.passes import Forward, Step
from gradshape.training.rows import LEAST_WIDTH, Rows, aligned
from gradshape.training.state import State

# Shapes of batches whose views are kept: victims with rows of their own have a few dozen.
_MOST_SHAPES = 64


def lanes_needed(victims: int, layout: Layout) -> int:
    """Number of victims, idle ones included, of a stack of networks.

    On CPUs it has so many that their numbers do not depend on it, see :mod:`gradshape.training.rows`.
    """
    return max(victims, -(-LEAST_WIDTH // layout.blocks[0][0]))


def _new_like(like: Tensor) -> Buffer:
    """New memory at every call."""

    def memory(_: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        # Whole vectors, see :data:`gradshape.training.heads.VECTOR`.
        return like.new_empty(aligned(size, VECTOR))[:size].view(shape)

    return memory


def _reused(like: Tensor, forget: Callable[[], None]) -> Buffer:
    """Memory that the next step reuses, so that it is not given back and page-faulted in again.

    ``forget`` is called when memory that was asked for before is replaced by more: nobody should keep it.
    """
    kept: dict[str, Tensor] = {}

    def memory(name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        found = kept.get(name)
        if found is None or found.numel() < size:
            if found is not None:
                forget()
            # Whole vectors, as above.
            found = kept[name] = like.new_zeros(aligned(size, VECTOR))
        return found[:size].view(shape)

    return memory


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
        self._steps: dict[tuple[int, int, bool], Step] = {}
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
        self._steps.clear()
        # Other devices than CPUs give memory back to a cache, and records of steps have memory of their own.
        self._reuses = parameter.device.type == "cpu"
        self._buffer = _reused(parameter, self._steps.clear) if self._reuses else _new_like(parameter)

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

        parameter = select(self.parameter)
        self.lanes = len(lanes)
        self._use(parameter)
        return select

    def load(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Set one victim's parameters."""
        self.write(self.parameter, lane, state)

    def state(self, lane: int) -> State:
        """A copy of one victim's parameters, on the CPU."""
        return self.read(self.parameter, lane)

    def write(self, flat: Tensor, lane: int, state: Mapping[str, Tensor]) -> None:
        """Set one victim's part of a tensor of :attr:`parameter`'s form."""
        matrices = [matrix.to(flat) for matrix in self._layout.matrices(state)]
        for to, block in zip(self._layout.views(flat, self.lanes), self._layout.split(matrices), strict=True):
            to[lane].copy_(block)

    def read(self, flat: Tensor, lane: int) -> State:
        """A copy of one victim's part of a tensor of :attr:`parameter`'s form, on the CPU."""
        blocks = self._layout.views(flat, self.lanes)
        return self._layout.named(self._layout.joined([block[lane] for block in blocks]))

    def copy(self, to: Tensor, source: Tensor, lanes: Tensor) -> None:
        """Copy the parts of ``lanes`` (int64 indices) from one tensor of :attr:`parameter`'s form to another."""
        pairs = zip(self._layout.views(to, self.lanes), self._layout.views(source, self.lanes), strict=True)
        for to_block, block in pairs:
            to_block[lanes] = block[lanes]

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
        slots = 0 if private is None else private.x.shape[1]
        rate = 1.0 if self._descent is None else -self._descent
        step = self._step_of(len(shared), slots, shaping.needs_norms)
        step.run(shared, private, member, rate / rows_per_step, shaping)

    def _step_of(self, shared: int, private: int, norms: bool) -> Step:
        key = shared, private, norms
        step = self._steps.get(key)
        if step is None:
            if len(self._steps) == _MOST_SHAPES:
                self._steps.clear()
            blocks = self._blocks[: self._layers], self._block_grads[: self._layers]
            step = Step(*blocks, self._head, shared, private, self._buffer, added=self.descends, norms=norms)
            if self._reuses:
                self._steps[key] = step
        return step

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

    def predict(self, x: Tensor, lanes: Tensor | None = None) -> Tensor:
        """Rows as in :attr:`Rows.x` ``(M, n)`` to the classes ``(k, M)`` that the victims in ``lanes`` take them for.

        ``lanes`` are int64 indices, all of them if ``None``. -1 where a logit is not finite.
        """
        return self._predicted(x, None, lanes)

    def predict_own(self, x: Tensor) -> Tensor:
        """``(K, M, n)`` rows, each victim's own, to their classes ``(K, M)``."""
        return self._predicted(x[0, :0], x)

    def _predicted(self, shared: Tensor, private: Tensor | None, lanes: Tensor | None = None) -> Tensor:
        weights, slots = self._blocks[: self._layers], 0 if private is None else private.shape[1]
        if lanes is not None:
            weights = [block[lanes] for block in weights]
        forward = Forward(weights, len(shared), slots, _new_like(self.parameter))
        return self._head.classes(forward.run(shared, private)[:, :, : forward.rows])
