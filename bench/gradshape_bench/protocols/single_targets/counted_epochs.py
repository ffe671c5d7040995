"""After which epochs an attack on a single target counts as won."""

from enum import Enum


class Counted(Enum):
    """The epochs after which a target is looked at: it is won if the attack succeeds after one of them."""

    ANY_EPOCH = "any_epoch"
    LAST_EPOCH = "last_epoch"
