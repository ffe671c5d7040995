"""The ways of taking per-sample gradients, and the choice of the fastest that is exact.

A model that is known to take rows one by one is differentiated in one pass. Any other is compared with plain autograd
when a pass through it has a signature that is new, see :attr:`ForwardPass.signature`; what was found is remembered.
Where batches have many sizes, or an attribute of the model many values, a few of them speak for all that go through the
same operations. What is remembered is tried again, on a row at a time, at the 1st, 2nd, 4th, ... and then at every 64th
pass; what a model or a loss changes of its attributes is put back before every pass that is repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from gradshape.clipping._memory import GradientMethod, Known, Memory
from gradshape.clipping._python_state import PythonState
from gradshape.clipping._recording import Layer, layers_in, recorded_forward
from gradshape.clipping._row_by_row import row_by_row
from gradshape.clipping._row_check import RowCheck, seems_independent
from gradshape.clipping._row_losses import losses_of
from gradshape.clipping._rows import Rows
from gradshape.clipping._sequential_models import takes_row_by_row
from gradshape.clipping._vmapped import model_gradients
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure

_known: WeakKeyDictionary[nn.Module, Memory] = WeakKeyDictionary()
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
        known = _known.setdefault(structure.model, Memory())
        if losses_of(structure).are_apart(loss_fn):
            recorded = known_pass(structure, x)
            gradients = None if recorded is None else recorded.gradients(loss_fn, y)
            if gradients is not None:
                return gradients
        # What this batch draws is told from what another thread draws by keeping that one out.
        with exclusive_randomness():
            return _found_out(known, structure, loss_fn, x, y)


def _found_out(known: Memory, structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> PerSample:
    """Take the gradients in the way that is known to be exact for such a pass, or in the first that proves to be."""
    # The first pass shows what a pass changes; what begins to change later is put back from the next pass on.
    first, copied = not known.by_signature, {name for _, name in known.changing}
    before = PythonState.of(structure, loss_fn, kept=first or bool(copied), copied=None if first else copied)
    # The first pass tells whether it is worth looking at Python's and NumPy's generators.
    looks = first or any(found.host for found in known.by_signature.values())
    draws = Draws(x.device, host=looks)
    forward = ForwardPass.of(structure, loss_fn, x, y, draws, values=before.but(known.changing))
    found = known.find(forward.signature, len(forward.x))
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


@dataclass(frozen=True, eq=False)
class KnownPass:
    """The forward pass of a batch through a sequence of known layers, which takes rows one by one.

    Attributes:
        structure: the model.
        x: its inputs.
        layers: its layers with their calls.
        logits: what it returned.
    """

    structure: Structure
    x: Rows
    layers: Sequence[Layer]
    logits: Any

    def gradients(self, loss_fn: LossFn, y: Rows) -> PerSample | None:
        """Take the per-sample gradients; ``None`` if the layers do not see the batch as they usually do, or the loss
        has to be differentiated together with the model.
        """
        structure, known = self.structure, _known.setdefault(self.structure.model, Memory())
        gradient = losses_of(structure).gradient(structure, loss_fn, self.logits, y)
        if gradient is None:
            return None
        forward = ForwardPass(structure, loss_fn, self.x, y, self.layers, self.logits, self.logits, gradient)
        found = known.by_signature.get(forward.shapes)
        if found is None:
            axes = batch_axes(forward)
            if not all(_batch_first(layer.name, axes) for layer in forward.layers):
                _unproven.add(structure.model)
                return None
            found = known.keep(forward.shapes, Known(axes, GradientMethod.ONE_PASS))
        return _taken(found, forward)


def known_pass(structure: Structure, x: Rows) -> KnownPass | None:
    """Run a sequence of known layers; ``None`` for any other model."""
    if structure.model in _unproven or not takes_row_by_row(structure.model):
        return None
    layers = layers_in(structure)
    with torch.enable_grad():
        return KnownPass(structure, x, layers, recorded_forward(structure, layers, x))


def _checked(known: Memory, forward: ForwardPass) -> PerSample:
    """Take the gradients in the first way that agrees with autograd, and remember it."""
    axes, before = batch_axes(forward), known.by_signature.get(forward.signature)
    method, gradients, conclusive = _first_exact(forward, axes)
    inconclusive = 0 if conclusive else 1 + (0 if before is None else before.inconclusive)
    host = forward.drawn is not None and forward.drawn.host is not None
    known.keep_checked(forward.signature, len(forward.x), Known(axes, method, host, inconclusive))
    return gradients


def _batch_first(layer: str, axes: Mapping[str, BatchAxes]) -> bool:
    return layer in axes and axes[layer].inputs == axes[layer].outputs == (0,)


def _taken(known: Known, forward: ForwardPass) -> PerSample:
    gradients = book_keeping(forward, known.axes) if known.method is GradientMethod.ONE_PASS else None
    if gradients is not None:
        return gradients
    return _row_by_row(forward) if known.method is GradientMethod.ROW_BY_ROW else _by_func(forward)


def _first_exact(forward: ForwardPass, axes: Mapping[str, BatchAxes]) -> tuple[GradientMethod, PerSample, bool]:
    """Return the first way that agrees with autograd, its gradients, and whether the check was conclusive."""
    repeatable = refuse_mixing_rows(forward)
    check = RowCheck(forward, repeatable=repeatable)
    if not forward.graph.moves_by_value:
        in_one_pass = book_keeping(forward, axes)
        if in_one_pass is not None and check.agrees_in_batch(in_one_pass) and check.agrees_alone(in_one_pass):
            return GradientMethod.ONE_PASS, in_one_pass, check.conclusive(in_one_pass)
    if not repeatable:
        raise ValueError(
            "model: a forward pass that is repeated gives something else, and the generators of torch, Python and "
            "NumPy are not why: expected random numbers that can be drawn again; draw them from torch's generator"
        )
    by_func = _by_func(forward)
    if check.agrees_alone(by_func):
        return GradientMethod.BY_FUNC, by_func, check.conclusive(by_func)
    # These are what the others are compared with.
    return GradientMethod.ROW_BY_ROW, _row_by_row(forward), True


def _by_func(forward: ForwardPass) -> PerSample:
    structure, host = forward.structure, None if forward.drawn is None else forward.drawn.host
    return model_gradients(structure, structure.parameters, forward.loss_fn, forward.x, forward.y, host=host)


def _row_by_row(forward: ForwardPass) -> PerSample:
    host = None if forward.drawn is None else forward.drawn.host
    return row_by_row(forward.structure, forward.loss_fn, forward.x, forward.y, host=host)
