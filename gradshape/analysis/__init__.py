"""What poison does inside a training: to its gradients, among the clean rows, and to the decision boundary."""

from gradshape.analysis.gradient_comparison import (
    Differences,
    Division,
    cosine_similarity,
    gradient_differences,
    magnitude_ratio,
    mean_over_epochs,
    spread_over_epochs,
    stationary_ratio,
)
from gradshape.analysis.poison_clusters import ClusterMap, cluster_map
from gradshape.analysis.regions import Regions, classifier, decision_regions

__all__ = [
    "ClusterMap",
    "Differences",
    "Division",
    "Regions",
    "classifier",
    "cluster_map",
    "cosine_similarity",
    "decision_regions",
    "gradient_differences",
    "magnitude_ratio",
    "mean_over_epochs",
    "spread_over_epochs",
    "stationary_ratio",
]
