"""What is remembered of the passes that were compared with plain autograd, by what tells such passes apart."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gradshape.clipping._batch_axes import BatchAxes
from gradshape.clipping._python_state import Place
from gradshape.clipping._signature import Signature

# Signatures that are remembered of a model, and signatures for batches of any size.
_MOST_SIGNATURES = 64
# Checks of a signature on batches that could not have shown a fault, before it is believed all the same.
_MOST_INCONCLUSIVE = 8
# Sizes of batches that are checked, before others are believed to be treated in the same way by the same operations.
_SIZES = 3
# As many values of attributes, for models that are given others at every step.
_VALUES = 8
# The most passes of a kind from one that is tried again to the next.
_APART = 64


class GradientMethod(Enum):
    """How all gradients of a batch are taken."""

    ONE_PASS = "by book-keeping"
    BY_FUNC = "by torch.func"
    ROW_BY_ROW = "by autograd, one row after the other"


@dataclass(frozen=True)
class Known:
    """What is known of the passes with one signature.

    Attributes:
        axes: the batch axes of the layers.
        method: the fastest method that was exact.
        host: whether a pass drew from Python's or NumPy's generator.
        inconclusive: how many checks could not have shown a fault, since the last that could.
        visits: how often it was used.
    """

    axes: Mapping[str, BatchAxes]
    method: GradientMethod
    host: bool = False
    inconclusive: int = 0
    visits: list[int] = field(default_factory=lambda: [0], compare=False)

    @property
    def believed(self) -> bool:
        """Whether no other check is needed."""
        return self.conclusive or self.inconclusive == _MOST_INCONCLUSIVE

    def visit(self) -> int | None:
        """Count a use; return a number if the gradients have to be tried on a row, which it chooses."""
        self.visits[0] += 1
        visit = self.visits[0]
        due = visit % _APART == 0 or visit & (visit - 1) == 0
        # Gradients that are taken row by row, or by torch.func, are those of single rows.
        return visit if due and self.method is GradientMethod.ONE_PASS else None

    @property
    def conclusive(self) -> bool:
        """Whether the check would have shown a fault."""
        return self.inconclusive == 0


@dataclass(frozen=True)
class Memory:
    """What is known of a model.

    Attributes:
        by_signature: by the signature of a pass.
        by_size: by what it has in common with passes of other sizes, and the size.
        by_values: by what it has in common with passes that read other values, and these.
        changing: places of the values that passes change themselves.
    """

    by_signature: dict[Hashable, Known] = field(default_factory=dict)
    by_size: dict[Hashable, dict[Hashable, Known]] = field(default_factory=dict)
    by_values: dict[Hashable, dict[Hashable, Known]] = field(default_factory=dict)
    changing: set[Place] = field(default_factory=set)

    def find(self, signature: Signature, rows: int) -> Known | None:
        """Return what is known of such a pass, if it was checked or if other sizes of batches leave no doubt."""
        found = self.by_signature.get(signature)
        if found is None and rows > 1:
            found = _agreed(self.by_size.get(signature.for_any_batch(rows)), _SIZES)
            found = found or _agreed(self.by_values.get(signature.for_any_values()), _VALUES)
            if found is not None:
                self.keep(signature, found)
        return found

    def keep(self, signature: Hashable, found: Known) -> Known:
        """Remember one more, and forget the first if there are many."""
        _forget(self.by_signature)
        self.by_signature[signature] = found
        return found

    def keep_checked(self, signature: Signature, rows: int, found: Known) -> None:
        """Remember what a check has shown."""
        self.keep(signature, found)
        if rows > 1 and found.conclusive and not found.host:
            _forget(self.by_size)
            self.by_size.setdefault(signature.for_any_batch(rows), {})[rows] = found
            _forget(self.by_values)
            by_values = self.by_values.setdefault(signature.for_any_values(), {})
            _forget(by_values)
            by_values[signature.values] = found


def _agreed(checked: Mapping[Hashable, Known] | None, enough: int) -> Known | None:
    """Return what enough checks have shown, if they agree."""
    found = [] if checked is None else list(checked.values())
    return found[0] if len(found) >= enough and all(other == found[0] for other in found) else None


def _forget(memory: dict[Hashable, Any]) -> None:
    if len(memory) >= _MOST_SIGNATURES:
        del memory[next(iter(memory))]
