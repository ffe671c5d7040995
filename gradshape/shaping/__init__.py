"""Shaping of per-sample gradients before the optimizer sees them, by small parts that compose.

A shaper turns the per-sample gradients ``g_i`` of a batch of ``B`` rows into the gradient of the step:

    g = (sum_i w_i g_i + N(0, std^2 I)) / B,        w_i = weights(|g_i|)

``Clip(4.0) | Noise(0.1)`` composes two parts. ``Shaper()``, with no parts, is plain training. Parts are values; what
:class:`QuantileClip` and :class:`AdaptiveNoise` learn during a training is kept in a :class:`ShaperStack`.
:class:`ShapedLoss` shapes the gradients of a training loop of one's own.
"""

from gradshape.shaping.adaptive_noise import AdaptiveNoise, Statistic
from gradshape.shaping.clip import Clip
from gradshape.shaping.noise import Noise
from gradshape.shaping.normalize import Normalize
from gradshape.shaping.part import Bounded, FixedNoise, LearnedNoise, RunningWeights, SampleWeights, Stackable
from gradshape.shaping.quantile_clip import QuantileClip
from gradshape.shaping.reweight import Reweight
from gradshape.shaping.shaped_loss import ShapedLoss
from gradshape.shaping.shaper import Part, Shaper
from gradshape.shaping.stack import ShaperStack

__all__ = [
    "AdaptiveNoise",
    "Bounded",
    "Clip",
    "FixedNoise",
    "LearnedNoise",
    "Noise",
    "Normalize",
    "Part",
    "QuantileClip",
    "Reweight",
    "RunningWeights",
    "SampleWeights",
    "ShapedLoss",
    "Shaper",
    "ShaperStack",
    "Stackable",
    "Statistic",
]
