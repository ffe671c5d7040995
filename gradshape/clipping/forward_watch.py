"""Per-sample gradients out of the forward passes that somebody else's training loop makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from gradshape.clipping._autocast import autocast_dtype, own_casts
from gradshape.clipping._closed_form import DensePass, dense_pass
from gradshape.clipping._exact_gradients import KnownPass, known_pass
from gradshape.clipping._module_locks import held
from gradshape.clipping._row_losses import losses_of
from gradshape.clipping._rows import Rows, inputs_of, refuse_other_lengths
from gradshape.clipping._unsupported import refuse_unsupported
from gradshape.clipping.mixing import refuse_mixing
from gradshape.clipping.per_sample_gradients import finite, per_sample
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure, tensors_in


@dataclass(frozen=True, eq=False)
class WatchedPass:
    """A forward pass that a loop made.

    Attributes:
        output: what the loop got.
        x: the arguments, in a form that :func:`gradshape.clipping.per_sample` takes.
        rows: the same, taken apart.
        versions: how often each tensor among them had been written to.
        recorded: what the gradients come from without another pass; ``None`` for models that need one.
    """

    output: Any
    x: Any = field(repr=False)
    rows: Rows = field(repr=False)
    versions: tuple[int, ...] = ()
    recorded: DensePass | KnownPass | None = field(default=None, repr=False)

    def place(self, output: object) -> int | None:
        """Return which of the tensors that the loop got this is; -1 for all of it, ``None`` for none of them."""
        if output is self.output:
            return -1
        return next((n for n, tensor in enumerate(tensors_in(self.output)) if tensor is output), None)


class ForwardWatch:
    """Watches the forward passes of a model that a training loop calls.

    A plain dense network, and any other sequence of known layers, is recorded in the loop's own pass. Any other model
    is run again when its gradients are taken, since a pass that is not known to leave rows alone has to be tried on
    single rows, and put back what it changes.

    Args:
        model: its method ``forward`` is replaced on the object while the watch is open; copies of the model, and what
            is saved of it, have none of this.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._open = False
        self._last: WatchedPass | None = None

    def open(self) -> None:
        """Begin.

        Raises:
            ValueError: the model's ``forward`` was replaced by somebody else.
        """
        if "forward" in vars(self._model):
            raise ValueError(
                f"model: the method forward of this {type(self._model).__name__} was replaced: expected a model as its "
                "class makes it; close what else shapes or wraps it"
            )
        self._open = True
        self._put()

    def close(self) -> None:
        """End; calls that follow are those of the model alone."""
        if self._open:
            self._open, self._last = False, None
            vars(self._model).pop("forward", None)

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
            found = per_sample(self._model, loss_fn, of.x, y) if found is None else found
        return found if autocast_dtype(of.rows.device) == torch.float16 else finite(found)

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        run: Callable[..., Any] = type(self._model).forward
        if not self._open or not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return run(self._model, *args, **kwargs)
        with self._aside():
            x = self._inputs(args, kwargs)
            rows = inputs_of(x)
            structure = Structure.of(self._model)
            refuse_unsupported(structure)
            refuse_mixing(structure)
            recorded: DensePass | KnownPass | None = None
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
                output = run(self._model, *args, **kwargs)
                for tensor in tensors_in(output):
                    if tensor.requires_grad and not tensor.is_leaf:
                        tensor.register_hook(_refuse_gradient)
        versions = tuple(tensor._version for tensor in rows.tensors)
        self._last = WatchedPass(output, x, rows, versions, recorded)
        return output

    def _inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs:
            return args[0] if len(args) == 1 and isinstance(args[0], Tensor) else args
        of = signature(self._model.forward)
        named: dict[str, Any] = {}
        for name, value in of.bind(*args, **kwargs).arguments.items():
            kind = of.parameters[name].kind
            if kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL):
                raise ValueError(
                    f"model: {type(self._model).__name__}.forward takes {name} by place alone, beside named arguments: "
                    "expected all by place, or all by name"
                )
            named |= value if kind is Parameter.VAR_KEYWORD else {name: value}
        return named

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Show the model as its class makes it."""
        vars(self._model).pop("forward", None)
        try:
            yield
        finally:
            if self._open:
                self._put()

    def _put(self) -> None:
        vars(self._model)["forward"] = self._forward

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForwardWatch":
        return ForwardWatch(memo.get(id(self._model), self._model))

    def __reduce__(self) -> tuple[type["ForwardWatch"], tuple[nn.Module]]:
        return ForwardWatch, (self._model,)


def _refuse_gradient(gradient: Tensor) -> NoReturn:
    raise RuntimeError(
        "the output of a model that is trained with shaped gradients was differentiated beside the criterion: "
        "expected the losses of the criterion alone; put what else counts into the criterion"
    )
