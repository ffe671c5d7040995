"""Per-sample gradients: their norms, their clipped mean and their sum under any weights.

Nothing here keeps a gradient per sample where a closed form gives norm and sum without it.
"""

from gradshape.clipping.gradient import clipped_gradient, per_sample, per_sample_norms, weighted_gradient
from gradshape.clipping.weights import clip_weights

__all__ = ["clip_weights", "clipped_gradient", "per_sample", "per_sample_norms", "weighted_gradient"]
