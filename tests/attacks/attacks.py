"""The attacks that the contract runs over, and data to make them on."""

from gradshape.attacks import Attack, LabelFlip, NoAttack
from tests.training.samples import blobs

LABEL_FLIPS = [
    LabelFlip(0),
    LabelFlip(0.01),
    LabelFlip(0.4),
    LabelFlip(1),
    LabelFlip(1.5),
    LabelFlip(0.3, feasible_quantile=0.9),
    LabelFlip(1.2, feasible_quantile=1),
]
ATTACKS: list[Attack] = [NoAttack(), *LABEL_FLIPS]
DATASETS = {
    "two-classes": blobs(rows=104, classes=2, spread=0.5),
    "pictures": blobs(rows=99, shape=(1, 3, 2), classes=4, spread=0.4),
}
