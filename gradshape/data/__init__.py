"""Data sets by name: ``load("digits")``, ``load("fashion_mnist_34")``, ``load("my/rows.npz")``."""

from gradshape.data.base import Dataset, Split
from gradshape.data.errors import DataError, DataUnavailable
from gradshape.data.guarded_copies import GuardedCopies
from gradshape.data.loading import fetch, info, load, names
from gradshape.data.own_copy import own_copy
from gradshape.data.own_rows import from_rows
from gradshape.data.own_sets import remember
from gradshape.data.poisoned_rows import PoisonedRows
from gradshape.data.source import PublishedFile, RawSplit, Source, register
from gradshape.data.stratified import alternating_order, stratified_order
from gradshape.data.units import Units, normalized

__all__ = [
    "DataError",
    "DataUnavailable",
    "Dataset",
    "GuardedCopies",
    "PoisonedRows",
    "PublishedFile",
    "RawSplit",
    "Source",
    "Split",
    "Units",
    "alternating_order",
    "fetch",
    "from_rows",
    "info",
    "load",
    "names",
    "normalized",
    "own_copy",
    "register",
    "remember",
    "stratified_order",
]
