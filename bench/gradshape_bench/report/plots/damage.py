"""How pictures show what poison did: words, and colours on a scale that is the same in every picture of a metric."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.colors import LogNorm, Normalize, PowerNorm


@dataclass(frozen=True)
class DamageScale:
    """How a metric of damage is shown.

    Attributes:
        title: words for a title.
        axis: words for an axis, with the unit.
        harmless: the value where poison does nothing.
        worst: the value from which on colours are darkest.
        ticks: values that the bar of colours names.
        gamma: power of the share of the scale; below 1 small values get more of the colours.
    """

    title: str
    axis: str
    harmless: float
    worst: float
    ticks: Sequence[float]
    gamma: float = 1.0

    def shades(self) -> Normalize:
        """Return what maps the metric to [0, 1], the same for all pictures; what is better than harmless is 0."""
        if self.harmless > 0:
            return LogNorm(self.harmless, self.worst, clip=True)
        return PowerNorm(self.gamma, self.harmless, self.worst, clip=True)


_RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Small drops of accuracy matter: with the square root a tenth takes a third of the scale.
_SMALL_MATTER = 0.5
_DROPS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0)
_RATIOS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_SCALES = {
    "rad": DamageScale(
        "Accuracy lost to the poison", "relative accuracy drop\nby the poison (share)", 0.0, 1.0, _DROPS, _SMALL_MATTER
    ),
    "rad_vs_vanilla": DamageScale(
        "Accuracy lost to poison and defence",
        "relative accuracy drop vs. clean\nmodel without defence (share)",
        0.0,
        1.0,
        _DROPS,
        _SMALL_MATTER,
    ),
    "mse_ratio": DamageScale(
        "Test error with the poison", "mean squared test error,\ntimes that without poison", 1.0, 10.0, _RATIOS
    ),
    "mse_ratio_vs_vanilla": DamageScale(
        "Test error with poison and defence",
        "mean squared test error, times that of\nthe clean model without defence",
        1.0,
        10.0,
        _RATIOS,
    ),
    "backdoor_rate": DamageScale(
        "Back doors that opened",
        "triggered rows taken for\nthe claimed class (share)",
        0.0,
        1.0,
        _RATES,
    ),
    "success_rate": DamageScale("Targets won", "targets won\n(share)", 0.0, 1.0, _RATES),
}


def damage_scale(metric: str) -> DamageScale:
    """Return how a metric is shown; one without words of its own is taken for a rate."""
    return _SCALES.get(metric) or DamageScale(metric.replace("_", " "), metric.replace("_", " "), 0.0, 1.0, _RATES)
