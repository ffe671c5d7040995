"""Data sets by name: ``load("digits")``, ``load("fashion_mnist_34")``, ``load("my/rows.npz")``."""

from gradshape.data.base import Dataset, Split
from gradshape.data.errors import DataError, DataUnavailable
from gradshape.data.guarded_copies import GuardedCopies
from gradshape.data.loading import fetch, info, load, names
from gradshape.data.poisoned_rows import PoisonedRows
from gradshape.data.source import PublishedFile, RawSplit, Source, register

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
    "fetch",
    "info",
    "load",
    "names",
    "register",
]
