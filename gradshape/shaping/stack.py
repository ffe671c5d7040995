"""The shapers of victims that are trained together, with what they have learned."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradshape.shaping._chain import Chain, kind, sum_layers
from gradshape.shaping.clip import Clip, clip_in_place
from gradshape.shaping.shaper import Shaper


class ShaperStack:
    """The shapers of ``K`` victims in use, applied in one pass where they are of one kind.

    A step calls :meth:`weights`, then :meth:`observe`, then :meth:`noise_std`; an epoch ends with :meth:`end_epoch`.
    What a victim's parts learn depends on its own batches alone. No method waits for the device, except
    :meth:`weights` and :meth:`observe` with a ``member`` if ``rows_per_step`` is not given.

    Args:
        shapers: one a victim.
        device, dtype: device and dtype of the squared norms that :meth:`weights` will get.
        rows_per_step: the number of rows in every victim's batch, if it is known.

    Attributes:
        needs_norms: whether any shaper needs per-sample norms.
        per_layer: whether any shaper looks at single layers.
        samplewise: whether every weight depends on its own sample's norm alone, given what was learned so far.
        adaptive_noise: whether any noise follows the norms.
        repeats: whether all parts are known to learn nothing, so that :meth:`weights` does the same work at every step
            and :meth:`observe` does none.
    """

    def __init__(
        self,
        shapers: Sequence[Shaper],
        *,
        device: torch.device,
        dtype: torch.dtype,
        rows_per_step: int | None = None,
    ) -> None:
        self._shapers = list(shapers)
        self._rows_per_step = rows_per_step
        self._device = device
        self._fixed = torch.tensor([s.noise_std**2 for s in shapers], device=device, dtype=torch.float64)
        # Plain clipping, by far the most frequent case, takes one pass for all.
        limits = [_single_limit(shaper) for shaper in shapers]
        self._limits: Tensor | None = None
        self._chains: list[Chain] = []
        self._members: list[list[int]] = []
        if all(limit is not None for limit in limits):
            self._limits = torch.tensor(limits, device=device, dtype=dtype).unsqueeze(1)
        else:
            by_kind: dict[tuple[object, ...], list[int]] = {}
            for k, shaper in enumerate(shapers):
                by_kind.setdefault(kind(shaper.weighting, shaper.adaptive_noises), []).append(k)
            for members in by_kind.values():
                own = [shapers[k] for k in members]
                weighting, noises = [s.weighting for s in own], [s.adaptive_noises for s in own]
                self._chains.append(Chain(weighting, noises, device=device, dtype=dtype))
                self._members.append(members)
        self._arrange()

    def _arrange(self) -> None:
        self.needs_norms = any(shaper.needs_norms for shaper in self._shapers)
        self.per_layer = any(chain.per_layer for chain in self._chains)
        self.samplewise = all(chain.samplewise for chain in self._chains)
        self.adaptive_noise = any(shaper.adaptive_noises for shaper in self._shapers)
        self._learns = any(chain.learns for chain in self._chains)
        self.repeats = all(chain.repeats for chain in self._chains)
        self._places = [torch.tensor(members, device=self._device) for members in self._members]

    def __len__(self) -> int:
        return len(self._shapers)

    def weights(self, squares: Tensor, member: Tensor | None = None) -> Tensor:
        """Weight each victim's rows by its own shaper, after what that has learned so far.

        Args:
            squares: ``(L, K, B)`` squared norms of the layers. Unless :attr:`per_layer`, the squared norms over all
                layers, ``(1, K, B)``, do as well.
            member: ``(K, B)``, not 0 where the row is in the victim's batch, for equally many rows of each victim.
                Shapers see no other norms, and other rows get weights without meaning. ``None`` if all rows are.

        Returns:
            A new tensor ``(K, B)``, or ``(L, K, B)`` if :attr:`per_layer`.
        """
        if self._limits is not None:
            return clip_in_place(sum_layers(squares).sqrt(), self._limits)
        shape = squares.shape if self.per_layer else squares.shape[1:]
        total = torch.ones(shape, device=squares.device, dtype=squares.dtype)
        for chain, members in zip(self._chains, self._places, strict=True):
            norms = self._norms(chain, squares, members)
            if member is None or chain.samplewise:
                weights = chain.weights(norms)
            else:
                weights = self._member_weights(chain, norms, member[members])
            if weights is not None:
                total[..., members, :] = weights
        return total

    def observe(self, squares: Tensor, member: Tensor | None = None) -> None:
        """Learn from one step; arguments as in :meth:`weights`. Call it after :meth:`weights`, once a step."""
        if not self._learns:
            return
        for chain, members in zip(self._chains, self._places, strict=True):
            if not chain.learns:
                continue
            norms = self._norms(chain, squares, members)
            if member is not None:
                norms = _gather(norms, self._member_rows(member[members]))
            chain.observe(norms)

    def noise_std(self) -> Tensor:
        """Return the ``(K,)`` float64 standard deviations of the noise on the sums of this step."""
        variance = self._fixed
        if self.adaptive_noise:
            variance = variance.clone()
            for chain, members in zip(self._chains, self._places, strict=True):
                own = chain.variance()
                if own is not None:
                    variance[members] += own
        return variance.sqrt()

    def end_epoch(self) -> None:
        """End the epoch for the parts that learn by the epoch."""
        for chain in self._chains:
            chain.end_epoch()

    def keep(self, victims: Sequence[int]) -> None:
        """Keep these victims only, in this order."""
        self._shapers = [self._shapers[k] for k in victims]
        index = torch.tensor(list(victims), device=self._device)
        self._fixed = self._fixed[index]
        if self._limits is not None:
            self._limits = self._limits[index]
        chains, kept_members = [], []
        for chain, members in zip(self._chains, self._members, strict=True):
            place = {k: place for place, k in enumerate(members)}
            kept = [(new, place[old]) for new, old in enumerate(victims) if old in place]
            if kept:
                chain.keep(torch.tensor([old for _, old in kept], device=self._device))
                chains.append(chain)
                kept_members.append([new for new, _ in kept])
        self._chains, self._members = chains, kept_members
        self._arrange()

    def _norms(self, chain: Chain, squares: Tensor, members: Tensor) -> Tensor:
        own = squares if len(self._chains) == 1 else squares[:, members]
        return own.sqrt() if chain.per_layer else sum_layers(own).sqrt()

    def _member_weights(self, chain: Chain, norms: Tensor, member: Tensor) -> Tensor | None:
        rows = self._member_rows(member)
        weights = chain.weights(_gather(norms, rows))
        if weights is None:
            return None
        whole = torch.zeros_like(norms) if weights.dim() == norms.dim() else torch.zeros_like(norms[0])
        return whole.scatter_(-1, rows.expand_as(weights), weights)

    def _member_rows(self, member: Tensor) -> Tensor:
        """Return the ``(k, n)`` places of the rows in each victim's batch, in order."""
        inside = (member != 0).to(torch.uint8)
        count = self._rows_per_step if self._rows_per_step is not None else int(inside[0].sum())
        return inside.argsort(dim=1, descending=True, stable=True)[:, :count]


def _gather(norms: Tensor, rows: Tensor) -> Tensor:
    return norms.gather(-1, rows.expand(*norms.shape[:-2], *rows.shape))


def _single_limit(shaper: Shaper) -> float | None:
    if shaper.adaptive_noises:
        return None
    weighting = shaper.weighting
    if not weighting:
        return float("inf")
    only = weighting[0]
    return only.max_norm if len(weighting) == 1 and isinstance(only, Clip) and not only.per_layer else None
