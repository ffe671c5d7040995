"""What tells passes apart that may have to be differentiated in different ways."""

from collections.abc import Hashable
from typing import Any, NamedTuple


class Signature(NamedTuple):
    """The signature of a pass: its sizes, among them those that grow with the batch, plain values, and the rest."""

    sizes: Hashable
    rest: Hashable
    values: Hashable

    def for_any_batch(self, batch_size: int) -> Hashable:
        """Return what passes through the same operations have in common, however many rows there are."""
        return _in_batches(self.sizes, batch_size), self.rest, self.values

    def for_any_values(self) -> Hashable:
        """Return what it has in common with passes that read other plain values."""
        return self.sizes, self.rest


def _in_batches(sizes: Any, batch_size: int) -> Hashable:
    if isinstance(sizes, tuple):
        return tuple(_in_batches(size, batch_size) for size in sizes)
    grows = type(sizes) is int and sizes > 0 and sizes % batch_size == 0
    return ("batches", sizes // batch_size) if grows else sizes
