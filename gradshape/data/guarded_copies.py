"""Copies for code that is not the library's, of which it is known afterwards whether they were written to."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gradshape.data._copies import same
from gradshape.data.base import Dataset, Split
from gradshape.data.own_copy import rebuilt


class GuardedCopies:
    """Copies of rows and other tensors for one call of code that is not the library's.

    The originals stay as they are, whatever that code does to the copies, in whichever way: through torch, through
    arrays of NumPy that share the memory, in a thread that goes on. So nobody else is disturbed, not even those who use
    the originals at the same time. :meth:`check` names code that wrote to a copy: it would look at rows that are not
    the ones that it was shown, on GPUs at others than on CPUs.

    Large rows are not copied, but for the pages that are written to; checking them takes a pass over the memory.

    >>> rows, copies = Split(torch.zeros(2, 3), torch.tensor([0, 1])), GuardedCopies()
    >>> copies.copy_of_rows("rows", rows).x[0, 0] = 1
    >>> bool(rows.x.any())
    False
    >>> copies.check("attack 'flip'")
    Traceback (most recent call last):
    ValueError: attack 'flip' wrote to rows.x, which it was shown: expected it to write to copies of its own
    """

    def __init__(self) -> None:
        self._made: list[tuple[str, Tensor, Tensor]] = []

    def copy_of(self, name: str, tensor: Tensor, *, device: torch.device | str = "cpu") -> Tensor:
        """Return a copy of a tensor on ``device``; ``name`` is what it is called if it is written to."""
        return self._note(name, tensor, tensor.detach().to(device, copy=True))

    def copy_of_rows(self, name: str, rows: Split, *, device: torch.device | str = "cpu") -> Split:
        """Return copies of rows on ``device``."""
        if torch.device(device).type != "cpu":
            return Split(*(self.copy_of(f"{name}.{axis}", getattr(rows, axis), device=device) for axis in ("x", "y")))
        own = rows.copy()
        return Split(self._note(f"{name}.x", rows.x, own.x), self._note(f"{name}.y", rows.y, own.y))

    def copy_of_dataset(self, dataset: Dataset) -> Dataset:
        """Return a copy of a data set."""
        return dataset.with_copies(self.copy_of_rows("train", dataset.train), self.copy_of_rows("test", dataset.test))

    def copy_of_state(
        self, name: str, state: Mapping[str, Tensor], *, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Return copies of tensors by name on ``device``."""
        return {part: self.copy_of(f"{name}[{part!r}]", tensor, device=device) for part, tensor in state.items()}

    def copy_of_value(self, name: str, value: Any) -> Any:
        """Return a copy of a value of dataclasses, mappings and sequences, with copies of all tensors in it."""
        return rebuilt(name, value, self.copy_of)

    def _note(self, name: str, tensor: Tensor, own: Tensor) -> Tensor:
        self._made.append((name, tensor.detach(), own))
        return own

    @property
    def by_name(self) -> dict[str, Tensor]:
        """All copies by name."""
        return {name: own for name, _, own in self._made}

    def check(self, code: str) -> None:
        """Raise ``ValueError``, which names ``code``, if a copy was written to."""
        for name, tensor, own in self._made:
            if not same(own, tensor.to(own.device)):
                raise ValueError(
                    f"{code} wrote to {name}, which it was shown: expected it to write to copies of its own"
                )
