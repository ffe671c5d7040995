"""Shapers as one writes them down, sample by sample and in plain numbers: what the library has to agree with."""

import math
import statistics
from collections.abc import Sequence

import torch

from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper, Statistic


class ShapingByHand:
    """One victim's shaper with what it has learned."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self._limits = {part: part.start for part in shaper.parts if isinstance(part, QuantileClip)}
        self._stds = {part: part.start for part in shaper.parts if isinstance(part, AdaptiveNoise)}
        self._seen: dict[AdaptiveNoise, list[float]] = {part: [] for part in self._stds}
        self._first_epoch = True

    def step(self, norms: Sequence[Sequence[float]]) -> list[list[float]]:
        """Norms of the layers of each sample to as many weights."""
        weights = [[1.0] * len(sample) for sample in norms]
        for part in self._shaper.parts:
            left = [[w * n for w, n in zip(*pair, strict=True)] for pair in zip(weights, norms, strict=True)]
            whole = [math.hypot(*sample) for sample in left]
            if isinstance(part, Noise):
                continue
            if isinstance(part, AdaptiveNoise):
                self._seen[part] += [min(norm, part.max_norm) for norm in whole]
                continue
            if isinstance(part, Clip) and part.per_layer:
                limit = part.max_norm / math.sqrt(len(norms[0]))
                factors = [[_clip(norm, limit) for norm in sample] for sample in left]
            else:
                factors = [[factor] * len(norms[0]) for factor in self._factors(part, whole)]
            weights = [[w * f for w, f in zip(*pair, strict=True)] for pair in zip(weights, factors, strict=True)]
        return weights

    def _factors(self, part: object, norms: list[float]) -> list[float]:
        if isinstance(part, Clip):
            return [_clip(norm, part.max_norm) for norm in norms]
        if isinstance(part, Normalize):
            return [part.max_norm / (norm + part.stabilizer) for norm in norms]
        if isinstance(part, QuantileClip):
            limit = self._limits[part]
            below = sum(norm <= limit for norm in norms) / len(norms)
            self._limits[part] = limit * math.exp(-part.rate * (below - part.quantile))
            return [_clip(norm, limit) for norm in norms]
        factors: list[float] = part.weights(torch.tensor(norms, dtype=torch.float64)).tolist()  # type: ignore[attr-defined]
        return factors

    def noise_std(self) -> float:
        """Standard deviation on the sum of the noise that follows the norms, after a step."""
        return math.hypot(*(self._std(part) for part in self._stds))

    def end_epoch(self) -> None:
        for part in self._stds:
            self._stds[part] = _scaled(part, self._seen[part])
            self._seen[part] = []
        self._first_epoch = False

    def _std(self, part: AdaptiveNoise) -> float:
        known = self._stds[part]
        return _scaled(part, self._seen[part]) if known is None else known


def _scaled(part: AdaptiveNoise, norms: list[float]) -> float:
    size = statistics.median_low(norms) if part.statistic is Statistic.MEDIAN else statistics.fmean(norms)
    return min(max(part.ratio * size, part.low), part.high)


def _clip(norm: float, limit: float) -> float:
    return limit / norm if norm > limit else 1.0
