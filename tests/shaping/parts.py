"""Every part, and some shapers made of them."""

import math

from gradshape.shaping import (
    AdaptiveNoise,
    Clip,
    Noise,
    Normalize,
    Part,
    QuantileClip,
    Reweight,
    SampleWeights,
    Shaper,
    Statistic,
)

DAMP = Reweight(lambda norms: 1 / (1 + norms), "damp", samplewise=True)
# Every weight depends on all norms of the batch.
SHARE = Reweight(lambda norms: norms / norms.sum(-1, keepdim=True), "share")
WEIGHTING: list[SampleWeights] = [
    Clip(0.7),
    Clip(0.0),
    Clip(math.inf),
    Clip(0.7, per_layer=True),
    Normalize(),
    Normalize(2.0, stabilizer=0.3),
    QuantileClip(0.5),
    QuantileClip(0.25, start=2.0, rate=0.5),
    DAMP,
    SHARE,
]
NOISES: list[Part] = [
    Noise(0.3),
    AdaptiveNoise(0.1),
    AdaptiveNoise(0.1, low=0.2, high=0.5, max_norm=3.0, start=0.4),
    AdaptiveNoise(0.2, statistic=Statistic.MEDIAN),
]
PARTS: list[Part] = [*WEIGHTING, *NOISES]
SHAPERS = [
    Shaper(),
    *(Shaper((part,)) for part in PARTS),
    Clip(0.7, per_layer=True) | QuantileClip(0.5) | Normalize(2.0),
    Clip(2.0) | Clip(1.0, per_layer=True) | AdaptiveNoise(0.1) | Noise(0.5),
    QuantileClip(0.5) | SHARE | Noise(1.0),
]
