"""Networks of the user's own as victims: a class, a factory or a trained module, under a name of its own."""

import copy
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from gradshape import _sameness, models

# What a factory may ask for by these names.
_SHAPE, _CLASSES = "input_shape", "num_classes"
Model = str | type[nn.Module] | Callable[..., nn.Module] | nn.Module


def named(model: Model, *, name: str | None = None) -> str:
    """Return the name that a model is built by, after registering it if it is the user's own.

    Args:
        model: a name, which is returned as it is; a class of modules or another factory, which may take
            ``input_shape`` and ``num_classes`` by these names, or both in this order, or nothing; or a module, whose
            weights every victim begins with.
        name: what it is called by; by default the class, or the name of the function.

    Raises:
        TypeError: it is none of these.
        ValueError: it has no name that can stand in ids, or another model is called so.

    >>> class Net(nn.Sequential):
    ...     def __init__(self, num_classes):
    ...         super().__init__(nn.Flatten(), nn.Linear(4, num_classes))
    >>> named("lr"), named(Net), models.build(named(Net), (4,), 3)[1].out_features
    ('lr', 'Net', 3)
    """
    if isinstance(model, str):
        return model
    make = _Copies(copy.deepcopy(model)) if isinstance(model, nn.Module) else _factory(_sameness.snapshot(model))
    called = name or str(type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", ""))
    if not re.fullmatch(r"[A-Za-z0-9_.]+", called):
        raise ValueError(f"model {model!r} has no name for ids: give it one of letters, digits, '_' and '.': name=...")
    known = models.registered().get(called)
    if known is None and called not in models.names():
        models.register(called, make)
    elif not _sameness.same(known, make):
        raise ValueError(
            f"model {called!r}: another model is called so: give this one another name, as in "
            f"Recipe(own_models.named(..., name={called + '_2'!r}), ...)"
        )
    elif isinstance(make, _Made) and known != make:
        # The file that has it was imported again.
        models.restore({called: make})
    return called


@dataclass(frozen=True)
class _Made:
    """Builds modules by a factory that takes some of what a builder is given."""

    make: Callable[..., nn.Module]
    by_name: tuple[str, ...] = ()
    by_position: bool = False

    def __call__(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        given: dict[str, Any] = {_SHAPE: input_shape, _CLASSES: num_classes}
        if self.by_position:
            return self.make(input_shape, num_classes)
        return self.make(**{name: given[name] for name in self.by_name})


@dataclass(frozen=True, eq=False)
class _Copies:
    """Builds copies of a module, weights included."""

    module: nn.Module

    def __call__(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return copy.deepcopy(self.module)


def _factory(model: Any) -> _Made:
    if not callable(model):
        raise TypeError(f"model={model!r}: expected a name, an nn.Module, or a class or function that makes one")
    try:
        parameters = list(inspect.signature(model).parameters.values())
    except (TypeError, ValueError) as error:
        raise TypeError(f"model={model!r}: its arguments are not known ({error}): wrap it in a function") from error
    by_name = tuple(p.name for p in parameters if p.name in (_SHAPE, _CLASSES) and p.kind is not p.POSITIONAL_ONLY)
    required = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in by_name
    ]
    if not required:
        return _Made(model, by_name)
    if len(required) == 2 and not by_name and all(p.kind is not p.KEYWORD_ONLY for p in parameters[:2]):
        return _Made(model, by_position=True)
    missing = ", ".join(map(repr, required))
    raise TypeError(
        f"model={_shown(model)}: it also needs {missing}: expected arguments called {_SHAPE!r} and {_CLASSES!r}, or "
        f"none: functools.partial or a function of your own can give it the rest"
    )


def _shown(model: Any) -> str:
    return getattr(model, "__qualname__", None) or repr(model)
