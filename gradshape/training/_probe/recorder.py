"""A probe at work in the training of one victim."""

import torch
from torch import Tensor, nn

from gradshape import _seeds
from gradshape.models import Classifier
from gradshape.training._curves import classes
from gradshape.training._probe.sums import EpochSums, SubsetSums
from gradshape.training._rows.device_rows import DeviceRows
from gradshape.training._rows.order import CommonRows
from gradshape.training.probe import SUBSETS, GradientProbe, Layers, SubsetGradients

_EVALUATION_ROWS = 1000


class ProbeRecorder:
    """Knows which subsets every row is in, and keeps what is measured epoch by epoch.

    Args:
        probe: what is measured.
        model: what is trained.
        rows: the table of training rows.
        order: the order in which the victim sees its rows.
        reweights: whether its shaper weights samples.

    Attributes:
        sums: take the gradients of every step.

    Raises:
        ValueError: the layer that is looked at is frozen.
    """

    def __init__(
        self, probe: GradientProbe, model: nn.Module, rows: DeviceRows, order: CommonRows, *, reweights: bool
    ) -> None:
        self._probe = probe
        self._rows = rows
        self._model = model
        head_ids = {id(p) for p in _head(model).parameters()}
        parameters = {
            name: p
            for name, p in model.named_parameters()
            if p.requires_grad and (probe.layers is Layers.ALL or id(p) in head_ids)
        }
        self._names = tuple(parameters)
        self._device = next(model.parameters()).device
        self.sums = SubsetSums(parameters, reweights=reweights)
        self._all_rows = torch.cat([order.kept, order.private]).to(rows.home)
        self._members = _members(probe, order, len(rows)).to(rows.home)
        self._epochs: list[EpochSums] = []
        self._accuracy: list[Tensor] = []

    def members(self, ids: Tensor) -> Tensor:
        """Return ``(S, B)`` bool on the model's device: which subsets the rows with these ids are in."""
        return self._members[:, ids].to(self._device)

    def end_epoch(self) -> None:
        """Record that an epoch is over; the model is in evaluation mode."""
        self._epochs.append(self.sums.end_epoch())
        if self._probe.accuracy:
            self._accuracy.append(self._evaluate())

    @torch.no_grad()
    def _evaluate(self) -> Tensor:
        hits = torch.zeros(len(SUBSETS), dtype=torch.float64, device=self._device)
        for ids in self._all_rows.split(_EVALUATION_ROWS):
            x, y = self._rows[ids]
            hits += self.members(ids).double() @ (classes(self._model(x)) == y).double()
        return hits.cpu() / self._members.sum(1).cpu()

    def result(self) -> SubsetGradients:
        """Return what was measured in the epochs so far."""
        whole = {
            name: torch.stack([getattr(epoch, name) for epoch in self._epochs])
            for name in ("raw", "shaped", "norms", "shaped_norms", "rows", "batches")
        }
        accuracy = torch.stack(self._accuracy) if self._accuracy else None
        return SubsetGradients(self._probe.layers, self._names, **whole, accuracy=accuracy)


def _members(probe: GradientProbe, order: CommonRows, rows: int) -> Tensor:
    """Return ``(S, rows)`` bool: which subsets each row of the table is in."""
    kept = order.kept
    count = min(len(order.private), len(kept)) if probe.placebo is None else probe.placebo
    drawn = kept[torch.randperm(len(kept), generator=_seeds.stream(order.seed, "placebo"))[:count]]
    clean, poison, placebo = torch.zeros(3, rows, dtype=torch.bool)
    clean[kept] = True
    poison[order.private] = True
    placebo[drawn] = True
    return torch.stack([clean, poison, placebo, (clean | poison) & ~placebo])


def _head(model: nn.Module) -> nn.Module:
    """Return the layer that gives the logits: a model's own head, or else the ``nn.Linear`` that is registered last."""
    if isinstance(model, Classifier):
        return model.head
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else model
