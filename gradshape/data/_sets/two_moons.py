"""Two interleaved half circles in the unit square: the smallest task that a linear model cannot solve."""

from pathlib import Path

import numpy as np

from gradshape.data.source import RawSplit, Source, register

_TRAIN, _TEST = 700, 300
_NOISE = 0.15


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 700 train and 300 test points, scaled together into [0, 1]."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(_TRAIN + _TEST, noise=_NOISE, random_state=0)
    low, high = points.min(axis=0), points.max(axis=0)
    x = ((points - low) / (high - low)).clip(0, 1).astype(np.float32)
    return RawSplit(x[:_TRAIN], labels[:_TRAIN]), RawSplit(x[_TRAIN:], labels[_TRAIN:])


TWO_MOONS = register(
    Source(
        name="two_moons",
        description="two interleaved half circles with noise in the unit square (scikit-learn's make_moons)",
        read=read,
        shape=(2,),
        num_classes=2,
        rows=(_TRAIN, _TEST),
    )
)
