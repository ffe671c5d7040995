"""The gradients of the subsets of a training's rows, summed over the batches of an epoch."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape.clipping.protocol import PerSample, layer_names
from gradshape.training.probe import COMPLEMENT, SUBSETS

_CLEAN, _POISON, _PLACEBO, _REST = range(len(SUBSETS))
# Gradients are summed over all rows, over the poison and over the placebo; the other two subsets are what is left.
_SUMMED = (_POISON, _PLACEBO)
_SUBSET_OF_SUMS = ((1.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, -1.0))


@dataclass(frozen=True, eq=False)
class EpochSums:
    """One epoch of :class:`gradshape.training.SubsetGradients`, whose fields these are."""

    raw: Tensor
    shaped: Tensor
    norms: Tensor
    shaped_norms: Tensor
    rows: Tensor
    batches: Tensor


class SubsetSums:
    """Adds up the gradients of the subsets.

    A step calls :meth:`add` for its rows, all at once or in parts, then :meth:`end_step`. An epoch ends with
    :meth:`end_epoch`.

    Args:
        parameters: those that are looked at, by name; at least one.
        reweights: whether samples are weighted in training.

    Raises:
        ValueError: there are no parameters.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, reweights: bool) -> None:
        if not parameters:
            raise ValueError("parameters={}: expected at least one that is trained, and the layer looked at is frozen")
        first = next(iter(parameters.values()))
        self._sizes = {name: p.numel() for name, p in parameters.items()}
        self._layers = layer_names(parameters)
        dtype = torch.promote_types(first.dtype, torch.float32)
        self._coefficients = torch.tensor(_SUBSET_OF_SUMS, device=first.device, dtype=dtype)
        # The kinds are raw gradients and, where they differ from these, weighted ones.
        self._kinds, size = 2 if reweights else 1, sum(self._sizes.values())
        self._step_sums = self._coefficients.new_zeros(self._kinds, 3, size)
        self._whole = torch.zeros_like(self._step_sums)
        self._by_batch = self._coefficients.new_zeros(self._kinds, len(SUBSETS), size)
        self._by_shared = torch.zeros_like(self._by_batch)
        self._norms = torch.zeros(2, len(SUBSETS), device=first.device, dtype=torch.float64)
        self._step_rows = torch.zeros(len(SUBSETS), device=first.device, dtype=torch.int64)
        self._rows = torch.zeros_like(self._step_rows)
        self._batches = torch.zeros_like(self._step_rows)
        self._shared = torch.zeros_like(self._step_rows)
        self._complement = torch.tensor(COMPLEMENT, device=first.device)

    def add(self, samples: PerSample, weights: Tensor, members: Tensor, trained: Mapping[str, Tensor]) -> None:
        """Add the rows of a step, or some of them.

        Args:
            samples: the rows' gradients.
            weights: ``(B,)`` or ``(L, B)`` weights of the gradients in training.
            members: ``(S, B)`` bool: which subsets each row is in.
            trained: the sum of the gradients under these weights.
        """
        in_subsets = members.to(weights.dtype)
        if self._kinds == 2:
            self._add_sums(1, samples, weights, in_subsets, trained)
            plain = torch.ones_like(in_subsets[0])
            self._add_sums(0, samples, plain, in_subsets, samples.weighted_sum(plain, only=self._layers))
        else:
            self._add_sums(0, samples, weights, in_subsets, trained)
        squares = samples.squares
        self._norms[0] += in_subsets.double() @ samples.norms.double()
        self._norms[1] += in_subsets.double() @ (weights.square() * squares).sum(0).sqrt().double()
        self._step_rows += members.sum(1)

    def _add_sums(
        self, kind: int, samples: PerSample, weights: Tensor, in_subsets: Tensor, whole: Mapping[str, Tensor]
    ) -> None:
        sums = self._step_sums[kind]
        sums[0] += self._flat(whole)
        for place, subset in enumerate(_SUMMED, start=1):
            sums[place] += self._flat(samples.weighted_sum(weights * in_subsets[subset], only=self._layers))

    def _flat(self, sums: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([sums[name].flatten() for name in self._sizes])

    def end_step(self) -> None:
        """Record that the rows added since the last call were one batch."""
        present = self._step_rows > 0
        share = torch.where(present, self._step_rows.to(self._coefficients.dtype).reciprocal(), 0)
        both = present & present[self._complement]
        coefficients = (self._coefficients * share.unsqueeze(1)).expand(self._kinds, -1, -1)
        self._by_batch.baddbmm_(coefficients, self._step_sums)
        self._by_shared.baddbmm_(coefficients * both.unsqueeze(1), self._step_sums)
        self._whole += self._step_sums
        self._rows += self._step_rows
        self._batches += present
        self._shared += both
        self._step_sums.zero_()
        self._step_rows.zero_()

    def end_epoch(self) -> EpochSums:
        """Return what was measured in the steps since the last call, on the CPU."""
        means = torch.stack(
            [
                self._by_batch / self._batches.unsqueeze(1),
                self._coefficients @ self._whole / self._rows.unsqueeze(1),
                self._by_shared / self._shared.unsqueeze(1),
            ],
            dim=1,
        ).double()
        parts = means.split(list(self._sizes.values()), dim=-1)
        products = torch.stack([part @ part.mT for part in parts], dim=2).cpu()
        norms = (self._norms / self._rows).cpu()
        found = EpochSums(
            raw=products[0],
            shaped=products[-1],
            norms=norms[0],
            shaped_norms=norms[1],
            rows=self._rows.cpu().clone(),
            batches=self._batches.cpu().clone(),
        )
        for total in (self._by_batch, self._by_shared, self._whole, self._norms, self._rows, self._batches):
            total.zero_()
        self._shared.zero_()
        return found
