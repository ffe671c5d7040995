"""Victims of any architecture whose layers have rules, as one model with a victim axis."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from gradshape._randomness import process_randomness
from gradshape.clipping.ensemble import ModelEnsemble
from gradshape.data import Dataset
from gradshape.shaping import ShaperStack
from gradshape.training.curve import Score, classes
from gradshape.training.loop import initial_model
from gradshape.training.memory import evaluation_elements
from gradshape.training.order import CommonRows
from gradshape.training.state import State
from gradshape.training.transfer import Batch, DeviceRows, epoch_ids
from gradshape.training.victim import Victim

# Optimizers round the elements that are left after the last full vector differently.
_VECTOR = 64
# Test rows at a time, however many victims there are: a row's logits may round differently among fewer rows.
_EVALUATION_ROWS = 250


class ModelStack:
    """The :class:`gradshape.training.stacked.Lanes` of ``K`` models.

    Every victim has a batch of its own, also where all have the same rows, so that its numbers are those that it has
    alone.

    Args:
        dataset: what the victims are trained on.
        victims: one a lane.
        rows, test: the training and the test rows.
        orders: one a victim; equal ones are the same object.
    """

    def __init__(
        self,
        dataset: Dataset,
        victims: Sequence[Victim],
        rows: DeviceRows,
        test: DeviceRows,
        orders: Sequence[CommonRows],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._rows = rows
        self._test = test
        self._model = initial_model(dataset, victims[0]).to(device=device, dtype=dtype)
        self._stacked = _stacked(self._model, rows)
        trained = {name: p.detach() for name, p in self._model.named_parameters() if p.requires_grad}
        self._shapes = {name: tuple(p.shape) for name, p in trained.items()}
        self._names = [name for name, _ in self._model.named_parameters()]
        self.count = len(victims)
        self.parameters_per_victim = sum(map(math.prod, self._shapes.values()))
        self.rows_per_step = orders[0].rows_per_step
        self._orders = list(dict.fromkeys(orders))
        self._order_of = torch.tensor([self._orders.index(order) for order in orders], device=device)
        self._frozen = {
            name: p.detach().repeat(self.count, *[1] * p.dim())
            for name, p in self._model.named_parameters()
            if name not in trained
        }
        self._use(torch.zeros(self._size(self.count), device=device, dtype=dtype))
        for lane, victim in enumerate(victims):
            for name, p in initial_model(dataset, victim).named_parameters():
                self._parameters[name][lane].copy_(p.detach())
        self._watch = _watch(victims, rows.shape, device=device, dtype=dtype)

    def _size(self, lanes: int) -> int:
        return sum(_padded(lanes * math.prod(shape)) for shape in self._shapes.values())

    def _use(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.gradient = torch.zeros_like(parameter)
        self._parameters = self._views(parameter, self.count) | self._frozen
        self._gradients = self._views(self.gradient, self.count)

    def _views(self, flat: Tensor, lanes: int) -> dict[str, Tensor]:
        views, offset = {}, 0
        for name, shape in self._shapes.items():
            size = lanes * math.prod(shape)
            views[name] = flat[offset : offset + size].view(lanes, *shape)
            offset += _padded(size)
        return views

    @property
    def descends(self) -> bool:
        """Never: an optimizer takes the gradient."""
        return False

    def needed(self, victims: int) -> int:
        """As many lanes as victims."""
        return victims

    def keep(self, lanes: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """See :meth:`gradshape.training.stacked.Lanes.keep`."""
        old, index = self.count, torch.tensor(list(lanes), device=self.parameter.device)

        def select(flat: Tensor) -> Tensor:
            fewer = flat.new_zeros(self._size(len(lanes)))
            source = self._views(flat, old)
            for name, to in self._views(fewer, len(lanes)).items():
                to.copy_(source[name][index])
            return fewer

        self._frozen = {name: of_all[index] for name, of_all in self._frozen.items()}
        self._order_of = self._order_of[index]
        self._watch = None if self._watch is None else self._watch[index]
        parameter = select(self.parameter)
        self.count = len(lanes)
        self._use(parameter)
        return select

    def read(self, flat: Tensor, lane: int) -> State:
        """See :meth:`gradshape.training.stacked.Lanes.read`."""
        return {name: of_all[lane].cpu().clone() for name, of_all in self._views(flat, self.count).items()}

    def whole(self, lane: int, trained: State) -> State:
        """See :meth:`gradshape.training.stacked.Lanes.whole`."""
        frozen = {name: of_all[lane].cpu().clone() for name, of_all in self._frozen.items()}
        return {name: trained[name] if name in trained else frozen[name] for name in self._names}

    def write(self, flat: Tensor, lane: int, state: State) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.write`."""
        for name, to in self._views(flat, self.count).items():
            to[lane].copy_(state[name])

    def copy(self, to: Tensor, source: Tensor, lanes: Sequence[int]) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.copy`."""
        index, of_source = torch.tensor(list(lanes), device=self.parameter.device), self._views(source, self.count)
        for name, view in self._views(to, self.count).items():
            view[index] = of_source[name][index]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """See :meth:`gradshape.training.stacked.Lanes.batches`; rows ``(orders, B, ...)`` and their labels."""
        self._model.train()
        for ids in epoch_ids(self._orders, epoch, self._rows.home):
            yield self._rows[ids]

    def step(self, shaping: ShaperStack, batch: Batch) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.step`."""
        x, y = batch
        assert x is not None
        assert y is not None
        if y.shape[1] == 0:
            self.gradient.zero_()
            return
        gradients = self._stacked.gradients(self._parameters, self._of_lanes(x), self._of_lanes(y))
        weights = shaping.weights(gradients.squares)
        shaping.observe(gradients.squares)
        for name, total in gradients.weighted_sum(weights.mul_(1 / self.rows_per_step)).items():
            self._gradients[name].copy_(total)

    def _of_lanes(self, of_orders: Tensor) -> Tensor:
        if len(of_orders) == 1:
            return of_orders.expand(self.count, *of_orders.shape[1:])
        return of_orders[self._order_of]

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """See :meth:`gradshape.training.stacked.Lanes.noise_layout`."""
        return list(draws.split([math.prod(shape) for shape in self._shapes.values()], dim=2))

    def select_noise(self, parts: Sequence[Tensor], victims: Tensor) -> list[Tensor]:
        """Laid out draws of these victims only."""
        return [part.index_select(1, victims) for part in parts]

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.add_noise`."""
        for gradient, part in zip(self._gradients.values(), parts, strict=True):
            noise = part[step] if scale is None else part[step] * scale.unsqueeze(1)
            gradient[: len(noise)].flatten(1).add_(noise)

    def score(self, lanes: Sequence[int]) -> Score:
        """See :meth:`gradshape.training.stacked.Lanes.score`."""
        self._model.eval()
        index = torch.tensor(list(lanes), device=self.parameter.device)
        whole = len(lanes) == self.count
        parameters = self._parameters if whole else {name: p[index] for name, p in self._parameters.items()}
        correct = torch.zeros(len(lanes), dtype=torch.int64, device=index.device)
        finite = torch.ones(len(lanes), dtype=torch.bool, device=index.device)
        for x, y in self._test.split(self._evaluation_rows):
            predicted = self._predicted(parameters, x, own=False)
            correct += (predicted == y).sum(1)
            finite &= (predicted >= 0).all(1)
        return Score(correct, finite, len(self._test))

    def watched(self) -> Tensor | None:
        """See :meth:`gradshape.training.stacked.Lanes.watched`."""
        if self._watch is None:
            return None
        self._model.eval()
        parts = self._watch.split(self._evaluation_rows, dim=1)
        return torch.cat([self._predicted(self._parameters, x, own=True) for x in parts], dim=1)

    @property
    def _evaluation_rows(self) -> int:
        elements = evaluation_elements(self.parameter.device) // self._stacked.output_elements
        return max(1, min(_EVALUATION_ROWS, elements))

    def _predicted(self, of_victims: Mapping[str, Tensor], x: Tensor, *, own: bool) -> Tensor:
        """``(M, ...)`` rows, or ``(K, M, ...)`` each victim's own, to classes ``(K, M)``, a few victims at a time."""
        victims = len(next(iter(of_victims.values())))
        elements = x.shape[int(own)] * self._stacked.output_elements
        at_once = max(1, evaluation_elements(self.parameter.device) // max(1, elements))
        predicted = []
        for first in range(0, victims, at_once):
            some = slice(first, first + at_once)
            parameters = {name: of_all[some] for name, of_all in of_victims.items()}
            predicted.append(classes(self._stacked.logits(parameters, x[some] if own else x, own=own)))
        return torch.cat(predicted)


def _padded(size: int) -> int:
    return -(-size // _VECTOR) * _VECTOR


def _stacked(model: nn.Module, rows: DeviceRows) -> ModelEnsemble:
    x, _ = rows[torch.tensor([0, len(rows) - 1], device=rows.home)]
    with process_randomness(x.device):
        stacked = ModelEnsemble.of(model, x)
    if stacked is None:
        raise ValueError(
            f"the model {type(model).__name__} cannot be stacked on {x.device}: train its victims with stacked=False"
        )
    return stacked


def _watch(
    victims: Sequence[Victim], shape: tuple[int, ...], *, device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    most = max(0 if victim.watch is None else len(victim.watch) for victim in victims)
    if most == 0:
        return None
    watch = torch.zeros(len(victims), most, *shape, device=device, dtype=dtype)
    for k, victim in enumerate(victims):
        if victim.watch is not None:
            watch[k, : len(victim.watch)] = victim.watch
    return watch
