"""After which epochs an attack on a single target counts as won."""

from enum import Enum


class Counted(Enum):
    """After which epochs of a training the target is looked at; it is won if it is misled after any of them."""

    ANY_EPOCH = "any_epoch"
    LAST_EPOCH = "last_epoch"
