"""Progress of diabetes a year after ten measurements of a patient: ships with scikit-learn."""

from pathlib import Path

import numpy as np

from gradshape.data._sets.scaling import unit_rows
from gradshape.data.source import RawSplit, Source, register

_TRAIN, _TEST = 300, 142


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 300 train and 142 test rows of ten features, scaled by the train rows.

    The split is fixed. Age, sex, body mass index and blood pressure come first, then six blood serum measurements. A
    linear model explains about half of the variance.
    """
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    x, y = load_diabetes(return_X_y=True, scaled=False)
    train, test = train_test_split(np.arange(len(y)), test_size=_TEST, random_state=0)
    return unit_rows(x, y, train=np.sort(train), test=np.sort(test))


DIABETES = register(
    Source(
        name="diabetes",
        description="progress of diabetes in a year, from ten measurements (scikit-learn; Efron et al. 2004)",
        read=read,
        shape=(10,),
        num_classes=0,
        rows=(_TRAIN, _TEST),
    )
)
