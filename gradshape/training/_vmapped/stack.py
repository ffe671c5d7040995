"""Networks of any architecture whose layers have rules, as one module with a model axis."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradshape._randomness import process_randomness
from gradshape.clipping.ensemble import ModelEnsemble
from gradshape.shaping import ShaperStack
from gradshape.training._curves import classes
from gradshape.training._memory import evaluation_elements
from gradshape.training.state import State
from gradshape.training.victim import Victim

# Optimizers round the elements that are left after the last full vector of so many differently.
_VECTOR = 64
# Number of test rows at a time, however many victims there are: a row's logits may round differently among fewer rows.
_EVALUATION_ROWS = 250


class ModuleBatch(NamedTuple):
    """The rows of one step: ``x (K, B, *shape)`` and ``y (K, B)``. ``B`` may be 0."""

    x: Tensor
    y: Tensor


class ModuleStack:
    """The :class:`gradshape.training._stacked.models.StackedModels` of ``K`` modules.

    Every model has a batch of its own, even if all have the same rows, so that its numbers are those that it has alone.

    Args:
        victims: one a model.
        initial: gives a victim's model before its first step.
        x: ``(2, *shape)`` rows on the device of the training.
        dtype: of the parameters.

    Raises:
        ValueError: the models cannot be stacked.
    """

    def __init__(
        self, victims: Sequence[Victim], initial: Callable[[Victim], nn.Module], x: Tensor, *, dtype: torch.dtype
    ) -> None:
        self._model = initial(victims[0]).to(device=x.device, dtype=dtype)
        self._stacked = _stacked(self._model, x)
        trained = {name: p.detach() for name, p in self._model.named_parameters() if p.requires_grad}
        self._shapes = {name: tuple(p.shape) for name, p in trained.items()}
        self._names = [name for name, _ in self._model.named_parameters()]
        self.num_models = len(victims)
        self.parameters_per_model = sum(map(math.prod, self._shapes.values()))
        self._frozen = {
            name: p.detach().repeat(self.num_models, *[1] * p.dim())
            for name, p in self._model.named_parameters()
            if name not in trained
        }
        self._use(torch.zeros(self._size(self.num_models), device=x.device, dtype=dtype))
        for place, victim in enumerate(victims):
            for name, p in initial(victim).named_parameters():
                self._parameters[name][place].copy_(p.detach())

    def _size(self, num_models: int) -> int:
        return sum(_padded(num_models * math.prod(shape)) for shape in self._shapes.values())

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.gradient = torch.zeros_like(parameter)
        self._parameters = self._views(parameter, self.num_models) | self._frozen
        self._gradients = self._views(self.gradient, self.num_models)

    def _views(self, flat: Tensor, num_models: int) -> dict[str, Tensor]:
        views, offset = {}, 0
        for name, shape in self._shapes.items():
            size = num_models * math.prod(shape)
            views[name] = flat[offset : offset + size].view(num_models, *shape)
            offset += _padded(size)
        return views

    @property
    def descends(self) -> bool:
        """Whether steps move the parameters: never, as an optimizer takes the gradient."""
        return False

    def padded(self, victims: int) -> int:
        """Return ``victims``: there is no padding."""
        return victims

    def keep(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        old, index = self.num_models, torch.tensor(list(places), device=self.parameter.device)

        def select(flat: Tensor) -> Tensor:
            fewer = flat.new_zeros(self._size(len(index)))
            source = self._views(flat, old)
            for name, to in self._views(fewer, len(index)).items():
                to.copy_(source[name][index])
            return fewer

        self._frozen = {name: p[index] for name, p in self._frozen.items()}
        parameter = select(self.parameter)
        self.num_models = len(index)
        self._use(parameter)
        return select

    def read(self, flat: Tensor, place: int) -> State:
        return {name: p[place].cpu().clone() for name, p in self._views(flat, self.num_models).items()}

    def with_frozen(self, place: int, trained: State) -> State:
        frozen = {name: p[place].cpu().clone() for name, p in self._frozen.items()}
        return {name: trained[name] if name in trained else frozen[name] for name in self._names}

    def write(self, flat: Tensor, place: int, state: Mapping[str, Tensor]) -> None:
        for name, to in self._views(flat, self.num_models).items():
            to[place].copy_(state[name])

    def copy(self, to: Tensor, source: Tensor, places: Sequence[int]) -> None:
        index = torch.tensor(list(places), device=self.parameter.device)
        source_views = self._views(source, self.num_models)
        for name, view in self._views(to, self.num_models).items():
            view[index] = source_views[name][index]

    def step(self, batch: ModuleBatch, rows_per_step: int, shaping: ShaperStack) -> None:
        x, y = batch
        if y.shape[1] == 0:
            self.gradient.zero_()
            return
        if not self._model.training:
            self._model.train()
        gradients = self._stacked.gradients(self._parameters, x, y)
        weights = shaping.weights(gradients.squares)
        shaping.observe(gradients.squares)
        for name, total in gradients.weighted_sum(weights.mul_(1 / rows_per_step)).items():
            self._gradients[name].copy_(total)

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        return list(draws.split([math.prod(shape) for shape in self._shapes.values()], dim=2))

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        for gradient, part in zip(self._gradients.values(), parts, strict=True):
            noise = part[step] if scale is None else part[step] * scale.unsqueeze(1)
            gradient[: len(noise)].flatten(1).add_(noise)

    def predictor(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        parameters = self._parameters
        if list(places) != list(range(self.num_models)):
            index = torch.tensor(list(places), device=self.parameter.device)
            parameters = {name: p[index] for name, p in parameters.items()}
        return lambda x: self._predicted(parameters, x, own=False)

    def rows_at_once(self, models: int) -> int:
        """Return the number of test rows at a time, the same for any number of models."""
        elements = evaluation_elements(self.parameter.device) // self._stacked.output_elements
        return max(1, min(_EVALUATION_ROWS, elements))

    def predict_own(self, x: Tensor) -> Tensor:
        parts = x.split(self.rows_at_once(self.num_models), dim=1)
        return torch.cat([self._predicted(self._parameters, part, own=True) for part in parts], dim=1)

    def _predicted(self, parameters: Mapping[str, Tensor], x: Tensor, *, own: bool) -> Tensor:
        """Predict the classes ``(K, M)`` of rows ``(M, ...)`` or ``(K, M, ...)``, a few models at a time."""
        if self._model.training:
            self._model.eval()
        num_models = len(next(iter(parameters.values())))
        elements = x.shape[int(own)] * self._stacked.output_elements
        at_once = max(1, evaluation_elements(self.parameter.device) // max(1, elements))
        predicted = []
        for first in range(0, num_models, at_once):
            some = slice(first, first + at_once)
            chosen = {name: p[some] for name, p in parameters.items()}
            # The rows are copied, as networks may write to what they are given.
            rows = (x[some] if own else x).clone()
            predicted.append(classes(self._stacked.logits(chosen, rows, own=own)))
        return torch.cat(predicted)


def _padded(size: int) -> int:
    return -(-size // _VECTOR) * _VECTOR


def _stacked(model: nn.Module, x: Tensor) -> ModelEnsemble:
    with process_randomness(x.device):
        stacked = ModelEnsemble.of(model, x)
    if stacked is None:
        raise ValueError(
            f"the model {type(model).__name__} cannot be stacked on {x.device}: train its victims with stacked=False"
        )
    return stacked
