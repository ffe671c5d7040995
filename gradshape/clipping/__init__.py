"""Per-sample gradients: their norms, their clipped mean and their sum under any weights.

Nothing here keeps a gradient per sample where a closed form gives norm and sum without it. ``_exact_gradients`` chooses
the fastest way that is exact for a model: ``_closed_form`` for plain dense networks, ``_book_keeping`` in one pass,
``_vmapped`` by ``torch.func``, or ``_row_by_row``; ``_row_check`` compares what they give with plain autograd, and
``_independence`` refuses models that mix rows. Of a sequence of known layers ``_row_losses`` looks at the loss alone.
``forward_watch`` takes the gradients out of the passes that somebody else's loop makes.
"""

from gradshape.clipping.ensemble import ModelEnsemble
from gradshape.clipping.forward_watch import ForwardWatch
from gradshape.clipping.mixing import normalizes_by_batch
from gradshape.clipping.per_sample_gradients import clipped_gradient, per_sample, per_sample_norms, weighted_gradient
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure
from gradshape.clipping.weights import clip_weights
from gradshape.clipping.workspace import release_workspaces

__all__ = [
    "ForwardWatch",
    "LossFn",
    "ModelEnsemble",
    "PerSample",
    "Structure",
    "clip_weights",
    "clipped_gradient",
    "normalizes_by_batch",
    "per_sample",
    "per_sample_norms",
    "release_workspaces",
    "weighted_gradient",
]
