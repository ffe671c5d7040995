"""Per-sample gradients out of the forward passes that somebody else's training loop makes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from gradshape.clipping._autocast import autocast_dtype, own_casts
from gradshape.clipping._closed_form import DensePass, dense_pass
from gradshape.clipping._exact_gradients import KnownPass, known_pass
from gradshape.clipping._module_locks import held
from gradshape.clipping._python_state import PythonState, kept_graphs
from gradshape.clipping._row_losses import losses_of
from gradshape.clipping._rows import Arguments, Rows, inputs_of, refuse_other_lengths
from gradshape.clipping._unsupported import refuse_unsupported
from gradshape.clipping.mixing import refuse_mixing
from gradshape.clipping.per_sample_gradients import finite, per_sample
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure, tensors_in

# What torch calls in the place of a module and its hooks, for ``nn.Module.compile``; it is neither copied nor saved.
_CALL = "_compiled_call_impl"


@dataclass(frozen=True, eq=False)
class WatchedPass:
    """A forward pass that a loop made.

    Attributes:
        output: what the loop got.
        structure: the model as it was then.
        rows: the inputs, taken apart.
        versions: how often each tensor among them had been written to.
        recorded: what the gradients come from without another pass; ``None`` for models that need one.
        kept: what the modules kept of this pass that can be differentiated.
    """

    output: Any
    structure: Structure = field(repr=False)
    rows: Rows = field(repr=False)
    versions: tuple[int, ...] = ()
    recorded: DensePass | KnownPass | None = field(default=None, repr=False)
    kept: Sequence[Tensor] = field(default=(), repr=False)

    def place(self, output: object) -> int | None:
        """Return which of the tensors that the loop got this is; -1 for all of it, ``None`` for none of them."""
        if output is self.output:
            return -1
        return next((n for n, tensor in enumerate(tensors_in(self.output)) if tensor is output), None)


class ForwardWatch:
    """Watches the calls of a model that a training loop makes.

    A plain dense network, and any other sequence of known layers, is recorded in the loop's own pass. Any other model
    is run again when its gradients are taken, since a pass that is not known to leave rows alone has to be tried on
    single rows, and put back what it changes.

    Args:
        model: calls of it go through the watch while that is open, hooks and all. Calls of its method ``forward`` do
            not; copies of the model, and what is saved of it, have none of this.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._open = False
        self._compiled: Callable[..., Any] | None = None
        self._last: WatchedPass | None = None

    def open(self) -> None:
        """Begin.

        Raises:
            ValueError: another watch has the model already.
        """
        self._compiled = vars(self._model).get(_CALL)
        if isinstance(getattr(self._compiled, "__self__", None), ForwardWatch):
            raise ValueError(
                f"model: the gradients of this {type(self._model).__name__} are shaped already: call close() of the "
                "ShapedLoss that does it first"
            )
        self._open = True
        self._put(self._called)

    def close(self) -> None:
        """End; calls that follow are those of the model alone."""
        if self._open:
            self._open, self._last = False, None
            self._put(self._compiled)

    def take(self, output: object) -> tuple[WatchedPass, int] | None:
        """Return the last pass and the place of ``output`` in what it gave; ``None`` if it is not from there."""
        last = self._last
        place = None if last is None else last.place(output)
        return None if last is None or place is None else (last, place)

    def per_sample(self, of: WatchedPass, loss_fn: LossFn, y: Any) -> PerSample:
        """Take the per-sample gradients of a pass; see :func:`gradshape.clipping.per_sample`.

        Raises:
            ValueError: the inputs were written to since; otherwise as there.
            FloatingPointError: the gradient of a sample is not finite; but under autocast to float16, where that is for
                a gradient scaler to find, which leaves such steps out.
        """
        if self._last is of:
            self._last = None
        if tuple(tensor._version for tensor in of.rows.tensors) != of.versions:
            raise ValueError("the inputs were written to since model(x): expected them as the model saw them")
        labels = Rows.of(y, "y")
        refuse_other_lengths(of.rows, labels)
        with self._aside():
            found: PerSample | None = None
            if isinstance(of.recorded, DensePass):
                structure = of.recorded.structure
                gradient = losses_of(structure).gradient(structure, loss_fn, of.recorded.logits, labels)
                found = None if gradient is None else of.recorded.gradients(gradient)
            elif of.recorded is not None:
                with held(of.recorded.structure.modules.values()), own_casts():
                    found = of.recorded.gradients(loss_fn, labels)
            found = self._again(of, loss_fn, y) if found is None else found
        return found if autocast_dtype(of.rows.device) == torch.float16 else finite(found)

    def _again(self, of: WatchedPass, loss_fn: LossFn, y: Any) -> PerSample:
        """Run the model again, and leave it as the loop's own pass left it."""
        before = PythonState.of(of.structure, loss_fn)
        try:
            return per_sample(self._model, loss_fn, of.rows.value, y)
        finally:
            before.restore()
            for tensor in of.kept:
                tensor.register_hook(_refuse_gradient)

    def _called(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return (self._compiled or self._model._call_impl)(*args, **kwargs)
        with self._aside():
            rows = inputs_of(_inputs(args, kwargs))
            structure = Structure.of(self._model)
            refuse_unsupported(structure)
            refuse_mixing(structure)
            recorded: DensePass | KnownPass | None = None
            kept: list[Tensor] = []
            output: Any
            if structure.parameters and len(rows):
                recorded = dense_pass(structure, rows)
                if recorded is None:
                    with held(structure.modules.values()), own_casts():
                        recorded = known_pass(structure, rows)
            if isinstance(recorded, DensePass):
                output = recorded.logits.requires_grad_()
                output.register_hook(_refuse_gradient)
            elif recorded is not None:
                output = recorded.logits
            else:
                # A copy, as the model or a hook may write to its inputs.
                rows, before = rows.clone(), kept_graphs(structure)
                output = self._model(*args, **kwargs)
                given = [tensor for tensor in tensors_in(output) if tensor.grad_fn is not None]
                for tensor in given:
                    tensor.register_hook(_refuse_gradient)
                known = {id(tensor) for tensor in (*before, *given)}
                kept = [tensor for tensor in kept_graphs(structure) if id(tensor) not in known]
        versions = tuple(tensor._version for tensor in rows.tensors)
        self._last = WatchedPass(output, structure, rows, versions, recorded, kept)
        return output

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Show the model as its class makes it."""
        self._put(None)
        try:
            yield
        finally:
            if self._open:
                self._put(self._called)

    def _put(self, call: Callable[..., Any] | None) -> None:
        if call is None:
            vars(self._model).pop(_CALL, None)
        else:
            vars(self._model)[_CALL] = call


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the arguments of a call as the inputs of a batch."""
    if kwargs:
        return Arguments(args, kwargs) if args else kwargs
    return args[0] if len(args) == 1 and isinstance(args[0], Tensor) else args


def _refuse_gradient(gradient: Tensor) -> NoReturn:
    raise RuntimeError(
        "what a model that is trained with shaped gradients returned, or kept in an attribute, was differentiated "
        "beside the criterion: expected the losses of the criterion alone; let the model return what else counts, such "
        "as an auxiliary loss of each row, and put it into the criterion"
    )
