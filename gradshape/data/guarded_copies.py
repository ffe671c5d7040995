"""What is lent to code that may write to it: copies, of which it is known afterwards whether they were written to."""

import copy
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from gradshape.data._copies import same
from gradshape.data.base import Dataset, Split


class Loans:
    """Copies of rows and other tensors for one call of code that is not the library's.

    The originals stay as they are, whatever the borrower does to what it is lent, in whichever way: through torch,
    through arrays of NumPy that share the memory, in a thread that goes on. So nobody else is disturbed, not even those
    who use the originals at the same time. :meth:`check` names a borrower that wrote nevertheless: it would look at
    rows that are not the ones that it was shown, on GPUs at others than on CPUs.

    Large rows are not copied, but for the pages that are written to; checking them takes a pass over the memory.

    >>> rows, loans = Split(torch.zeros(2, 3), torch.tensor([0, 1])), Loans()
    >>> loans.lend_rows("rows", rows).x[0, 0] = 1
    >>> bool(rows.x.any())
    False
    >>> loans.check("attack 'flip'")
    Traceback (most recent call last):
    ValueError: attack 'flip' wrote to rows.x, which it was shown: expected it to write to copies of its own
    """

    def __init__(self) -> None:
        self._lent: list[tuple[str, Tensor, Tensor]] = []

    def lend(self, name: str, tensor: Tensor, *, device: torch.device | str = "cpu") -> Tensor:
        """Return a copy of a tensor on ``device``; ``name`` is what it is called if it is written to."""
        return self._lends(name, tensor, tensor.detach().to(device, copy=True))

    def lend_rows(self, name: str, rows: Split, *, device: torch.device | str = "cpu") -> Split:
        """Return copies of rows on ``device``."""
        if torch.device(device).type != "cpu":
            return Split(*(self.lend(f"{name}.{axis}", getattr(rows, axis), device=device) for axis in ("x", "y")))
        own = rows.copy()
        return Split(self._lends(f"{name}.x", rows.x, own.x), self._lends(f"{name}.y", rows.y, own.y))

    def lend_dataset(self, dataset: Dataset) -> Dataset:
        """Return a copy of a data set."""
        return dataset.with_copies(self.lend_rows("train", dataset.train), self.lend_rows("test", dataset.test))

    def lend_state(
        self, name: str, state: Mapping[str, Tensor], *, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Return copies of tensors by name on ``device``."""
        return {part: self.lend(f"{name}[{part!r}]", tensor, device=device) for part, tensor in state.items()}

    def lend_value(self, name: str, value: Any) -> Any:
        """Return a copy of a value of dataclasses, mappings and sequences, with copies of all tensors in it."""
        if isinstance(value, Tensor):
            return self.lend(name, value)
        if isinstance(value, Mapping):
            return {key: self.lend_value(f"{name}[{key!r}]", item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.lend_value(f"{name}[{place}]", item) for place, item in enumerate(value))
        if is_dataclass(value) and hasattr(value, "__dict__") and not isinstance(value, type):
            twin = copy.copy(value)
            # What was derived from the tensors, such as a hash, is derived anew from the copies.
            vars(twin).clear()
            for field in fields(value):
                vars(twin)[field.name] = self.lend_value(f"{name}.{field.name}", getattr(value, field.name))
            return twin
        return value

    def _lends(self, name: str, tensor: Tensor, own: Tensor) -> Tensor:
        self._lent.append((name, tensor.detach(), own))
        return own

    @property
    def lent(self) -> dict[str, Tensor]:
        """All copies by name."""
        return {name: own for name, _, own in self._lent}

    def check(self, borrower: str) -> None:
        """Raise ``ValueError`` if the borrower wrote to anything that it was lent."""
        for name, tensor, own in self._lent:
            if not same(own, tensor.to(own.device)):
                raise ValueError(
                    f"{borrower} wrote to {name}, which it was shown: expected it to write to copies of its own"
                )
