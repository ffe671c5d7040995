"""Size of the largest cell nuclei in an image, from averages over all of them: ships with scikit-learn."""

from pathlib import Path

import numpy as np

from gradshape.data._sets.scaling import unit_rows
from gradshape.data.source import RawSplit, Source, register

_TRAIN, _TEST = 400, 169
_FEATURES, _WORST_AREA = 10, 23


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 400 train and 169 test rows of ten features, scaled by the train rows.

    The table is the Wisconsin breast cancer data, made for a classification that is not used here. The features are its
    first ten columns, means over the nuclei of one image (radius, texture, perimeter, area and six of shape and
    surface). The value to predict is its column ``worst area``, the mean area of the three largest nuclei. A linear
    model explains more than nine tenths of the variance, so poison has more room to do harm than in ``diabetes``.
    """
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    table, _ = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(np.arange(len(table)), test_size=_TEST, random_state=0)
    return unit_rows(table[:, :_FEATURES], table[:, _WORST_AREA], train=np.sort(train), test=np.sort(test))


NUCLEI_AREA = register(
    Source(
        name="nuclei_area",
        description="area of the largest cell nuclei of an image, from means over all nuclei (scikit-learn; Wisconsin)",
        read=read,
        shape=(_FEATURES,),
        num_classes=0,
        rows=(_TRAIN, _TEST),
    )
)
