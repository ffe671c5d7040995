"""The plain ReLU networks of ``K`` victims as one network with a model axis.

The shared rows of a batch go through one matrix product for all victims, private rows through a small batched one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.shaping import ShaperStack
from gradshape.training._dense.layout import Layout, layout_of
from gradshape.training._dense.outputs import VECTOR, Buffer
from gradshape.training._dense.passes import GradientPass, OutputPass
from gradshape.training._memory import evaluation_elements
from gradshape.training._rows.matrix import LEAST_WIDTH, RowMatrix, aligned
from gradshape.training.optimizers import SGD
from gradshape.training.state import State
from gradshape.training.victim import Victim

# Most shapes of batches whose views are kept: the batches of victims with rows of their own have a few dozen.
_MOST_SHAPES = 64


class DenseBatch(NamedTuple):
    """The rows of one step.

    Attributes:
        shared: ``B`` rows that all models see.
        private: ``(K, S)`` rows, or ``None``.
        member: ``(K, B + S)``: 1 where the row is in the model's batch, else 0; ``None`` if all are.
    """

    shared: RowMatrix
    private: RowMatrix | None = None
    member: Tensor | None = None


def _new_like(like: Tensor) -> Buffer:
    """Return a buffer that gives new memory at every call."""

    def memory(_: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        # Memory comes in whole vectors, see :data:`gradshape.training._dense.outputs.VECTOR`.
        return like.new_empty(aligned(size, VECTOR))[:size].view(shape)

    return memory


def _reused(like: Tensor, forget: Callable[[], None]) -> Buffer:
    """Return a buffer whose memory the next step reuses, so that it is not given back and page-faulted in again.

    ``forget`` is called when memory that was given before is replaced by more: nobody should keep the old one.
    """
    kept: dict[str, Tensor] = {}

    def memory(name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        found = kept.get(name)
        if found is None or found.numel() < size:
            if found is not None:
                forget()
            # Memory comes in whole vectors, as above.
            found = kept[name] = like.new_zeros(aligned(size, VECTOR))
        return found[:size].view(shape)

    return memory


class DenseStack:
    """The :class:`gradshape.training._stacked.models.StackedModels` of plain ReLU networks.

    Args:
        layout: where parameters lie.
        victims: how many models are trained; models beyond them are padding.
        descent: learning rate of plain gradient descent, which the stack then does itself: products are added to the
            parameters directly, which saves writing and reading a gradient as large as they are. ``None`` to leave the
            gradient in :attr:`gradient`.

    Attributes:
        num_models: number of models, padding included.
        parameter: all parameters, flat.
        gradient: the gradient of the last step in the same form; the parameters themselves if there is a ``descent``.
    """

    def __init__(
        self,
        layout: Layout,
        victims: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        descent: float | None = None,
    ) -> None:
        self._layout = layout
        self._output, self._layers = layout.output, layout.layers
        self.num_models = self.padded(victims)
        self._widest = max(outputs for outputs, _ in layout.blocks)
        self.parameters_per_model = layout.parameters
        self._descent = descent
        self._steps: dict[tuple[int, int, bool], GradientPass] = {}
        self._use(torch.zeros(layout.size(self.num_models), device=device, dtype=dtype))

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        victims: Sequence[Victim],
        initial: Callable[[Victim], nn.Module],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "DenseStack":
        """Stack the models of these victims as they are before their first step.

        Args:
            victims: their recipes are the same but for the shaper.
            initial: gives a victim's model before its first step.

        Raises:
            ValueError: the models are no plain ReLU networks.
        """
        template = initial(victims[0])
        layers = models.dense_layers(template)
        if layers is None:
            raise ValueError(f"model {victims[0].descent.model!r}: expected a plain ReLU network of Linear layers")
        name_of = {id(parameter): name for name, parameter in template.named_parameters()}
        names = [(name_of[id(layer.weight)], name_of[id(layer.bias)]) for layer in layers]
        widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
        optimizer = victims[0].descent.optimizer
        descent = optimizer.lr if isinstance(optimizer, SGD) and not optimizer.momentum else None
        moments = any(victim.keep_optimizer or victim.initial_optimizer is not None for victim in victims)
        layout = layout_of(widths, names, optimizer, [victim.descent.shaper for victim in victims], moments=moments)
        stack = cls(layout, len(victims), device=device, dtype=dtype, descent=descent)
        for place, victim in enumerate(victims):
            stack.write(stack.parameter, place, dict(initial(victim).named_parameters()))
        return stack

    def padded(self, victims: int) -> int:
        """Return the number of models, padding included, that so many victims take.

        On CPUs there are so many that the numbers of a victim do not depend on how many, see
        :mod:`gradshape.training._rows.matrix`.
        """
        return max(victims, -(-LEAST_WIDTH // self._layout.blocks[0][0]))

    @property
    def descends(self) -> bool:
        """Whether :meth:`step` and :meth:`add_noise` move the parameters."""
        return self._descent is not None

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        # Plain descent adds to the parameters in place of a gradient.
        self.gradient = parameter if self._descent is not None else torch.zeros_like(parameter)
        self._blocks = self._layout.views(self.parameter, self.num_models)
        self._block_grads = self._layout.views(self.gradient, self.num_models)
        self._steps.clear()
        # Other devices give memory back to a cache, and recorded steps have memory of their own.
        self._reuses = parameter.device.type == "cpu"
        self._buffer = _reused(parameter, self._steps.clear) if self._reuses else _new_like(parameter)

    def keep(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        old, index = self.num_models, torch.tensor(list(places), device=self.parameter.device)

        def select(flat: Tensor) -> Tensor:
            fewer = flat.new_zeros(self._layout.size(len(index)))
            blocks = zip(self._layout.views(fewer, len(index)), self._layout.views(flat, old), strict=True)
            for to, source in blocks:
                to.copy_(source[index])
            return fewer

        parameter = select(self.parameter)
        self.num_models = len(index)
        self._use(parameter)
        return select

    def with_frozen(self, place: int, trained: State) -> State:
        """Return ``trained``, as all parameters are trained."""
        return trained

    def write(self, flat: Tensor, place: int, state: Mapping[str, Tensor]) -> None:
        matrices = [matrix.to(flat) for matrix in self._layout.matrices(state)]
        for to, block in zip(self._layout.views(flat, self.num_models), self._layout.split(matrices), strict=True):
            to[place].copy_(block)

    def read(self, flat: Tensor, place: int) -> State:
        blocks = self._layout.views(flat, self.num_models)
        return self._layout.named(self._layout.joined([block[place] for block in blocks]))

    def copy(self, to: Tensor, source: Tensor, places: Sequence[int]) -> None:
        index = torch.tensor(list(places), device=self.parameter.device)
        pairs = zip(self._layout.views(to, self.num_models), self._layout.views(source, self.num_models), strict=True)
        for to_block, block in pairs:
            to_block[index] = block[index]

    def step(self, batch: DenseBatch, rows_per_step: int, shaping: ShaperStack) -> None:
        """Set the gradient to the shaped sum over each model's batch, noise excluded, or descend along it."""
        shared, private, member = batch
        private_rows = 0 if private is None else private.x.shape[1]
        rate = 1.0 if self._descent is None else -self._descent
        step = self._step_of(len(shared), private_rows, shaping.needs_norms)
        step.run(shared, private, member, rate / rows_per_step, shaping)

    def _step_of(self, shared: int, private: int, norms: bool) -> GradientPass:
        key = shared, private, norms
        step = self._steps.get(key)
        if step is None:
            if len(self._steps) == _MOST_SHAPES:
                self._steps.clear()
            blocks = self._blocks[: self._layers], self._block_grads[: self._layers]
            step = GradientPass(*blocks, self._output, shared, private, self._buffer, added=self.descends, norms=norms)
            if self._reuses:
                self._steps[key] = step
        return step

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """Add step number ``step`` of laid out draws, times ``scale (n,)``, to the first ``n`` victims' gradients."""
        victims = parts[0].shape[1]
        for block, (gradient, part) in enumerate(zip(self._block_grads, parts, strict=True)):
            own = gradient[:victims]
            if block >= self._layers and self._descent is None:
                # Nothing has overwritten the noise of the step before.
                own.zero_()
            # The noise is scaled before it is added, as an addition that scales rounds once or twice, depending on the
            # element's place.
            own.add_(part[step] if scale is None else part[step] * scale.view(-1, 1, 1))

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """Lay out draws ``(T, n, P)``, flat in the order of a victim's state, as :meth:`add_noise` takes them."""
        parts = self._layout.drawn(draws)
        if self._descent is not None:
            for part in parts:
                part.mul_(-self._descent)
        return parts

    def predictor(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Return what maps rows ``(M, n)``, as in ``RowMatrix.x``, to the classes ``(k, M)`` that models predict."""
        weights, count = self._blocks[: self._layers], self.padded(len(places))
        if count < self.num_models or list(places) != list(range(len(places))):
            padding = [places[0]] * (count - len(places))
            index = torch.tensor([*places, *padding], device=self.parameter.device)
            weights = [block[index] for block in weights]
        return lambda x: self._predicted(weights, x, None)[: len(places)]

    def rows_at_once(self, models: int) -> int:
        return max(1, evaluation_elements(self.parameter.device) // (self.padded(models) * self._widest))

    def predict_own(self, x: Tensor) -> Tensor:
        """Predict the classes ``(num_models, M)`` of rows ``(num_models, M, n)``, each model's own."""
        return self._predicted(self._blocks[: self._layers], x[0, :0], x)

    def _predicted(self, weights: Sequence[Tensor], shared: Tensor, private: Tensor | None) -> Tensor:
        private_rows = 0 if private is None else private.shape[1]
        forward = OutputPass(weights, len(shared), private_rows, _new_like(self.parameter))
        return self._output.classes(forward.run(shared, private)[:, :, : forward.rows])
