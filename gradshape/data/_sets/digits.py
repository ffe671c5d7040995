"""Handwritten digits, 8x8 grey pixels: ships with scikit-learn."""

from pathlib import Path

import numpy as np

from gradshape.data.source import RawSplit, Source, register


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 1,437 train and 360 test rows ``(1, 8, 8)``; the split is fixed and keeps the shares of the classes."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=360, stratify=labels, random_state=0)
    x = pixels.reshape(-1, 1, 8, 8)
    return RawSplit(x[np.sort(train)], labels[np.sort(train)]), RawSplit(x[np.sort(test)], labels[np.sort(test)])


DIGITS = register(
    Source(
        name="digits",
        description="handwritten digits, 8x8 grey pixels (scikit-learn's copy of the UCI optical digits test set)",
        read=read,
        scale=16,
        shape=(1, 8, 8),
        num_classes=10,
        rows=(1_437, 360),
    )
)
