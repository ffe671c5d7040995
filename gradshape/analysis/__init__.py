"""Looking at what poison does inside a training."""

from gradshape.analysis.gradients import (
    Differences,
    Division,
    cosine_similarity,
    gradient_differences,
    magnitude_ratio,
    mean_over_epochs,
    spread_over_epochs,
    stationary_ratio,
)

__all__ = [
    "Differences",
    "Division",
    "cosine_similarity",
    "gradient_differences",
    "magnitude_ratio",
    "mean_over_epochs",
    "spread_over_epochs",
    "stationary_ratio",
]
