"""The ways of taking per-sample gradients, and the choice of the fastest that is exact.

A model that is known to take rows one by one is differentiated in one pass. Any other is compared with plain autograd
when a pass through it has a signature that is new, see :attr:`ForwardPass.signature`; what was found is remembered.
Where batches have many sizes, or an attribute of the model many values, a few of them speak for all that go through the
same operations. What is remembered is tried again, on a row at a time, at the 1st, 2nd, 4th, ... and then at every 64th
pass; what a model or a loss changes of its attributes is put back before every pass that is repeated.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn

from gradshape._randomness import exclusive_randomness, set_torch_state
from gradshape.clipping._autocast import own_casts
from gradshape.clipping._batch_axes import BatchAxes, batch_axes
from gradshape.clipping._book_keeping import book_keeping
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._generators import Draws
from gradshape.clipping._independence import refuse_mixing_rows
from gradshape.clipping._losses import is_known
from gradshape.clipping._python_state import Place, PythonState
from gradshape.clipping._row_by_row import row_by_row
from gradshape.clipping._row_check import RowCheck, seems_independent
from gradshape.clipping._rows import Rows
from gradshape.clipping._sequential_models import takes_row_by_row
from gradshape.clipping._vmapped import model_gradients
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure

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


class _Method(Enum):
    """How all gradients of a batch are taken."""

    ONE_PASS = "by book-keeping"
    BY_FUNC = "by torch.func"
    ROW_BY_ROW = "by autograd, one row after the other"


@dataclass(frozen=True)
class _Known:
    """What is known of the passes with one signature.

    Attributes:
        axes: the batch axes of the layers.
        method: the fastest method that was exact.
        host: whether a pass drew from Python's or NumPy's generator.
        inconclusive: how many checks could not have shown a fault, since the last that could.
        visits: how often it was used.
    """

    axes: Mapping[str, BatchAxes]
    method: _Method
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
        return visit if due and self.method is _Method.ONE_PASS else None

    @property
    def conclusive(self) -> bool:
        """Whether the check would have shown a fault."""
        return self.inconclusive == 0


@dataclass(frozen=True)
class _Memory:
    """What is known of a model.

    Attributes:
        by_signature: by the signature of a pass.
        by_size: by what it has in common with passes of other sizes, and the size.
        by_values: by what it has in common with passes that read other values, and these.
        changing: places of the values that passes change themselves.
    """

    by_signature: dict[Hashable, _Known] = field(default_factory=dict)
    by_size: dict[Hashable, dict[Hashable, _Known]] = field(default_factory=dict)
    by_values: dict[Hashable, dict[Hashable, _Known]] = field(default_factory=dict)
    changing: set[Place] = field(default_factory=set)

    def find(self, forward: ForwardPass) -> _Known | None:
        """Return what is known of such a pass, if it was checked or if other sizes of batches leave no doubt."""
        signature, rows = forward.signature, len(forward.x)
        found = self.by_signature.get(signature)
        if found is None and rows > 1:
            found = _agreed(self.by_size.get(signature.for_any_batch(rows)), _SIZES)
            found = found or _agreed(self.by_values.get(signature.for_any_values()), _VALUES)
            if found is not None:
                self.keep(signature, found)
        return found

    def keep(self, signature: Hashable, found: _Known) -> _Known:
        """Remember one more, and forget the first if there are many."""
        _forget(self.by_signature)
        self.by_signature[signature] = found
        return found

    def keep_checked(self, forward: ForwardPass, found: _Known) -> None:
        """Remember what a check has shown."""
        signature, rows = forward.signature, len(forward.x)
        self.keep(signature, found)
        if rows > 1 and found.conclusive and not found.host:
            _forget(self.by_size)
            self.by_size.setdefault(signature.for_any_batch(rows), {})[rows] = found
            _forget(self.by_values)
            by_values = self.by_values.setdefault(signature.for_any_values(), {})
            _forget(by_values)
            by_values[signature.values] = found


def _agreed(checked: Mapping[Hashable, _Known] | None, enough: int) -> _Known | None:
    """Return what enough checks have shown, if they agree."""
    found = [] if checked is None else list(checked.values())
    return found[0] if len(found) >= enough and all(other == found[0] for other in found) else None


def _forget(memory: dict[Hashable, Any]) -> None:
    if len(memory) >= _MOST_SIGNATURES:
        del memory[next(iter(memory))]


_known: WeakKeyDictionary[nn.Module, _Memory] = WeakKeyDictionary()
# Models of known modules that are given inputs of another kind, such as sequences without a batch axis.
_unproven: WeakSet[nn.Module] = WeakSet()


def exact_gradients(structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> PerSample:
    """Take the gradients of a batch in the fastest way that is exact; the caller holds the modules of the model.

    Args:
        structure: the model, with at least one trainable parameter.
        loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.

    Raises:
        ValueError: the model mixes samples, or draws numbers that cannot be drawn again; ``loss_fn`` does not return
            one loss per sample.
    """
    with own_casts():
        known = _known.setdefault(structure.model, _Memory())
        if is_known(loss_fn) and structure.model not in _unproven and takes_row_by_row(structure.model):
            proven = _proven(known, ForwardPass.of(structure, loss_fn, x, y))
            if proven is not None:
                return proven
            _unproven.add(structure.model)
        # What this batch draws is told from what another thread draws by keeping that one out.
        with exclusive_randomness():
            return _found_out(known, structure, loss_fn, x, y)


def _found_out(known: _Memory, structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> PerSample:
    """Take the gradients in the way that is known to be exact for such a pass, or in the first that proves to be."""
    # The first pass shows what a pass changes; what begins to change later is put back from the next pass on.
    first, copied = not known.by_signature, {name for _, name in known.changing}
    before = PythonState.of(structure, loss_fn, kept=first or bool(copied), copied=None if first else copied)
    # The first pass tells whether it is worth looking at Python's and NumPy's generators.
    looks = first or any(found.host for found in known.by_signature.values())
    draws = Draws(x.device, host=looks)
    forward = ForwardPass.of(structure, loss_fn, x, y, draws, values=before.but(known.changing))
    found = known.find(forward)
    if found is not None and not found.believed:
        found = None
    visit = None if found is None else found.visit()
    if found is not None and visit is None and not known.changing:
        return _taken(found, forward)
    after = PythonState.of(structure, loss_fn)
    known.changing.update(before.changed(after))
    if known.changing:
        repeatable = replace(structure, before=before)
        forward = replace(forward, structure=repeatable, values=before.but(known.changing))
    try:
        if found is not None:
            gradients = _taken(found, forward)
            if visit is None or _seems_exact(forward, gradients, visit):
                return gradients
        return _checked(known, forward if found is None and looks else _repeated(forward))
    finally:
        if known.changing:
            after.restore()


def _seems_exact(forward: ForwardPass, gradients: PerSample, visit: int) -> bool:
    """Try a row that ``visit`` chooses; True where that cannot be done."""
    rows = len(forward.x)
    if rows == 1 or (forward.x.device.type == "cuda" and torch.cuda.is_current_stream_capturing()):
        return True
    if forward.draws:
        refuse_mixing_rows(forward)
        return True
    return seems_independent(forward, gradients, Random(visit).randrange(rows))


def _repeated(forward: ForwardPass) -> ForwardPass:
    """Run the pass again, with the same random numbers, and look at all that it draws."""
    structure, x, drawn = forward.structure, forward.x, forward.drawn
    if drawn is not None:
        set_torch_state(drawn.torch, x.device)
        if drawn.host is not None:
            drawn.host.restore()
    draws = Draws(x.device, host=True)
    return ForwardPass.of(structure, forward.loss_fn, x, forward.y, draws, values=forward.values)


def _proven(known: _Memory, forward: ForwardPass) -> PerSample | None:
    """Take the gradients of a model that is known; ``None`` if its layers do not see the batch as they usually do."""
    found = known.by_signature.get(forward.shapes)
    if found is None:
        axes = batch_axes(forward)
        if not all(_batch_first(layer.name, axes) for layer in forward.layers):
            return None
        found = known.keep(forward.shapes, _Known(axes, _Method.ONE_PASS))
    return _taken(found, forward)


def _checked(known: _Memory, forward: ForwardPass) -> PerSample:
    """Take the gradients in the first way that agrees with autograd, and remember it."""
    axes, before = batch_axes(forward), known.by_signature.get(forward.signature)
    method, gradients, conclusive = _first_exact(forward, axes)
    inconclusive = 0 if conclusive else 1 + (0 if before is None else before.inconclusive)
    host = forward.drawn is not None and forward.drawn.host is not None
    known.keep_checked(forward, _Known(axes, method, host, inconclusive))
    return gradients


def _batch_first(layer: str, axes: Mapping[str, BatchAxes]) -> bool:
    return layer in axes and axes[layer].inputs == axes[layer].outputs == (0,)


def _taken(known: _Known, forward: ForwardPass) -> PerSample:
    gradients = book_keeping(forward, known.axes) if known.method is _Method.ONE_PASS else None
    if gradients is not None:
        return gradients
    return _row_by_row(forward) if known.method is _Method.ROW_BY_ROW else _by_func(forward)


def _first_exact(forward: ForwardPass, axes: Mapping[str, BatchAxes]) -> tuple[_Method, PerSample, bool]:
    """Return the first way that agrees with autograd, its gradients, and whether the check was conclusive."""
    repeatable = refuse_mixing_rows(forward)
    check = RowCheck(forward, repeatable=repeatable)
    if not forward.graph.moves_by_value:
        in_one_pass = book_keeping(forward, axes)
        if in_one_pass is not None and check.agrees_in_batch(in_one_pass) and check.agrees_alone(in_one_pass):
            return _Method.ONE_PASS, in_one_pass, check.conclusive(in_one_pass)
    if not repeatable:
        raise ValueError(
            "model: a forward pass that is repeated gives something else, and the generators of torch, Python and "
            "NumPy are not why: expected random numbers that can be drawn again; draw them from torch's generator"
        )
    by_func = _by_func(forward)
    if check.agrees_alone(by_func):
        return _Method.BY_FUNC, by_func, check.conclusive(by_func)
    # These are what the others are compared with.
    return _Method.ROW_BY_ROW, _row_by_row(forward), True


def _by_func(forward: ForwardPass) -> PerSample:
    structure, host = forward.structure, None if forward.drawn is None else forward.drawn.host
    return model_gradients(structure, structure.parameters, forward.loss_fn, forward.x, forward.y, host=host)


def _row_by_row(forward: ForwardPass) -> PerSample:
    host = None if forward.drawn is None else forward.drawn.host
    return row_by_row(forward.structure, forward.loss_fn, forward.x, forward.y, host=host)
