"""Refusal of models that give a row of a batch something else than they give it alone.

A model cannot be read; it can be tried. A few rows, and halves of the batch, are run on their own, or beside other rows
where the model draws random numbers: their losses have to stay the same. Where rounding could be to blame, float64
decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape._randomness import HostState
from gradshape.clipping import _tolerance
from gradshape.clipping._attempts import losses_of_rows
from gradshape.clipping._autocast import without_autocast
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._rows import Rows
from gradshape.clipping.protocol import one_loss_per_sample
from gradshape.clipping.structure import tensors_in

# Halves of a batch that are run alone: those by so many last digits, in binary, of the numbers of the rows.
_DIGITS = 3

Run = Callable[[Rows, Rows], Tensor]


@dataclass(frozen=True)
class _Mixed:
    """A row whose loss is another one among the rows of the batch and apart from them."""

    row: int
    among: float
    apart: float


def refuse_mixing_rows(forward: ForwardPass) -> bool:
    """Raise ``ValueError`` if the loss of a row depends on the rows beside it.

    Returns:
        Whether the pass gives the same when it is repeated; it does not if the model draws from a generator of its own.
    """
    if len(forward.x) == 1 or not torch.isfinite(forward.losses).all():
        return True
    mixed = _beside_others(forward) if forward.draws else _on_their_own(forward)
    if mixed is None:
        return True
    if not _repeatable(forward):
        return False
    if not forward.draws:
        mixed = _without_rounding(forward, mixed)
    if mixed is not None:
        raise ValueError(
            f"model: the loss of row {mixed.row} is {mixed.among:.6g} in the batch of {len(forward.x)} rows and "
            f"{mixed.apart:.6g} {'beside other rows' if forward.draws else 'apart from them'}: expected a model and a "
            "loss that give a row the same whatever rows are beside it, as samples that are mixed have no gradients of "
            "their own; take means, normalisations and attention over the axes of a row, not over the batch"
        )
    return True


def checked_rows(batch_size: int) -> list[int]:
    """Return the numbers of the few rows that are compared with the rows alone."""
    return sorted({0, batch_size // 2, batch_size - 1})


def _on_their_own(forward: ForwardPass) -> _Mixed | None:
    # Coarser dtypes are suspected by the measure of float32, too, as float64 has the last word.
    rounding = min(forward.rounding, torch.finfo(torch.float32).eps)
    allowed = _allowed(forward, forward.losses, rounding)
    return _first_difference(_runner(forward), forward.losses, forward.x, forward.y, allowed)


def _beside_others(forward: ForwardPass) -> _Mixed | None:
    """Put other rows in place of every second one, under the same random numbers."""
    assert forward.drawn is not None
    run, losses = _runner(forward), forward.losses
    allowed = _allowed(forward, losses, forward.rounding)
    numbers = torch.arange(len(forward.x), device=forward.x.device)
    for kept in (numbers % 2 == 0, numbers % 2 == 1):
        x = forward.x[torch.where(kept, numbers, numbers.roll(1))]
        with forward.drawn.again():
            among_others = run(x, forward.y)
        row = _first(_far(losses, among_others, allowed) & kept)
        if row is not None:
            # Numbers that are drawn in other places say nothing about rows.
            same = _same_generators(_generators_after(forward, forward.x), _generators_after(forward, x))
            return _Mixed(row, float(losses[row]), float(among_others[row])) if same else None
    return None


def _repeatable(forward: ForwardPass) -> bool:
    assert forward.drawn is not None
    with forward.drawn.again():
        again = _runner(forward)(forward.x, forward.y)
    return not bool(_far(forward.losses, again, _allowed(forward, forward.losses, forward.rounding)).any())


def _without_rounding(forward: ForwardPass, suspected: _Mixed) -> _Mixed | None:
    """Return what is left of a suspicion in float64; by a coarser measure if the model insists on its dtype."""
    if forward.rounding < 1e-12:
        return suspected
    structure = forward.structure
    tensors = {**dict(structure.model.named_parameters(remove_duplicate=False)), **structure.buffers}
    wide = {name: _doubled(tensor) for name, tensor in tensors.items()}

    def run(x: Rows, y: Rows) -> Tensor:
        with torch.enable_grad(), without_autocast(x.device):
            return one_loss_per_sample(
                forward.loss_fn(structure.call(wide, *x.clone().arguments), y.value), len(x)
            ).detach()

    x, y = forward.x.map(_doubled), forward.y.map(_doubled)
    if not forward.graph.converts:
        try:
            losses = run(x, y)
            if losses.dtype == torch.float64:
                return _first_difference(run, losses, x, y, _allowed(forward, losses, torch.finfo(torch.float64).eps))
        except (RuntimeError, TypeError, ValueError):
            pass
    coarse = _tolerance.other_pass(forward.rounding) * float(forward.losses.abs().max())
    return suspected if abs(suspected.among - suspected.apart) > coarse else None


def _allowed(forward: ForwardPass, losses: Tensor, rounding: float) -> float:
    """Return how far a loss may be off: by a share of the largest, and by what the rounding of logits adds to it."""
    sizes = [float(out.detach().abs().max()) for out in tensors_in(forward.logits) if out.numel()]
    size = max(sizes, default=0.0)
    return _tolerance.losses(rounding) * float(losses.abs().max()) + 64 * rounding * max(1.0, size)


def _first_difference(run: Run, losses: Tensor, x: Rows, y: Rows, allowed: float) -> _Mixed | None:
    for part in _parts(len(x)):
        index = torch.tensor(part, device=x.device)
        apart = run(x[index], y[index])
        place = _first(_far(losses[index], apart, allowed))
        if place is not None:
            return _Mixed(part[place], float(losses[part[place]]), float(apart[place]))
    return None


def _parts(batch_size: int) -> list[Sequence[int]]:
    """Return the rows that are run alone, and the halves of the batch."""
    alone: list[Sequence[int]] = [[row] for row in checked_rows(batch_size)]
    digits = min(_DIGITS, (batch_size - 1).bit_length()) if batch_size > len(alone) else 0
    halves = [[n for n in range(batch_size) if n >> d & 1 == value] for d in range(digits) for value in (0, 1)]
    return alone + [half for half in halves if half]


def _runner(forward: ForwardPass) -> Run:
    def run(x: Rows, y: Rows) -> Tensor:
        # With gradients: without them some layers take other ways.
        return losses_of_rows(forward.structure, forward.loss_fn, x, y).detach()

    return run


def _generators_after(forward: ForwardPass, x: Rows) -> tuple[Tensor, HostState]:
    assert forward.drawn is not None
    with forward.drawn.again():
        _runner(forward)(x, forward.y)
        return torch.get_rng_state(), HostState.now()


def _same_generators(one: tuple[Tensor, HostState], other: tuple[Tensor, HostState]) -> bool:
    return torch.equal(one[0], other[0]) and one[1].equals(other[1])


def _far(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    """Return where two tensors differ by more than a tolerance; never where a difference is not a number."""
    return (one - other).abs() > tolerance


def _first(mask: Tensor) -> int | None:
    places = mask.nonzero()
    return int(places[0]) if len(places) else None


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor
