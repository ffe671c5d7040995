"""Learners of the user's own as victims: a scikit-learn estimator or pipeline, a class of such, a training function."""

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradshape import _sameness
from gradshape._host_arrays import host_array
from gradshape.data import Split
from gradshape.learners.registry import Array, Estimator, learner, register, registered, restore

_RANDOM_STATE = "random_state"
# Rows that a network which a training function returned is given at a time.
_ROWS = 1_000
# What a training function makes: a network, an object with `predict`, or a function of the rows.
Predictor = Any
TrainFn = Callable[..., Predictor]
Learnable = str | Estimator | type[Estimator] | TrainFn


def named(model: Any, *, name: str | None = None) -> str:
    """Return the name that a learner is built by, after registering it if it is the user's own.

    Args:
        model: a name; or a scikit-learn estimator or pipeline, which is cloned for every victim and has each
            ``random_state`` in it set from the victim's seed; or a class of estimators; or a training function
            ``train(rows, seed, **settings)``, which takes a :class:`gradshape.data.Split` in the user's units and
            returns a predictor: an ``nn.Module``, an object with ``predict(x)`` that takes an array, or a function of
            a tensor. It predicts classes ``(N,)``, or a number for each class, ``(N, num_classes)``.
        name: what it is called by; by default the class, or the name of the function.

    Raises:
        TypeError: it is none of these.
        ValueError: it has no name that can stand in ids, or another learner is called so.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> named(DecisionTreeClassifier(max_depth=3))
    'DecisionTreeClassifier'
    """
    if isinstance(model, str):
        learner(model)
        return model
    factory = _factory(model)
    called = name or str(getattr(model, "__name__", type(model).__name__))
    if not re.fullmatch(r"[A-Za-z0-9_.]+", called):
        raise ValueError(f"{model!r} has no name for ids: give it one of letters, digits, '_' and '.': name=...")
    known = registered().get(called)
    if known is None:
        register(called, factory)
    elif not _sameness.same(known.factory, factory):
        raise ValueError(
            f"estimator {called!r}: another one is called so: give this one another name, as in "
            f"Fit(learners.named(..., name={called + '_2'!r}))"
        )
    elif not isinstance(factory, _Clones):
        # The file that has it may have been imported again.
        fresh = copy.copy(known)
        object.__setattr__(fresh, "factory", factory)
        restore({called: known if known.factory == factory else fresh})
    return called


@dataclass(eq=False)
class OnRows:
    """A training function as an estimator, which takes rows as they are and not as a table.

    Args:
        train: the function.
        seed: of the victim.
        settings: further arguments of the function.
    """

    train: TrainFn
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    _predictor: Predictor = None

    def fit(self, x: Array, y: Array, /) -> "OnRows":
        """Train on a table of rows, see :meth:`fit_rows`."""
        return self.fit_rows(Split(torch.from_numpy(x).float(), torch.from_numpy(y)))

    def predict(self, x: Array, /) -> Array:
        """Predict a table of rows, see :meth:`predict_rows`."""
        return self.predict_rows(torch.from_numpy(x).float())

    def fit_rows(self, rows: Split) -> "OnRows":
        """Train on rows ``(N, *shape)``."""
        self._predictor = self.train(rows, self.seed, **self.settings)
        if not (callable(self._predictor) or hasattr(self._predictor, "predict")):
            raise ValueError(
                f"{_called(self.train)} returned {self._predictor!r}: expected an nn.Module, an object with predict(x) "
                "or a function of the rows"
            )
        return self

    def predict_rows(self, x: Tensor) -> NDArray[Any]:
        """Return what the predictor makes of rows ``(N, *shape)``, as it is.

        Raises:
            ValueError: it is several things, such as a dictionary; or, of a network, no tensor.
        """
        predictor = self._predictor
        if isinstance(predictor, nn.Module):
            predictor.eval()
            with torch.no_grad():
                return np.concatenate([self._array(predictor(part.clone()), Tensor) for part in x.split(_ROWS)])
        if hasattr(predictor, "predict"):
            return self._array(predictor.predict(x.numpy().copy()))
        with torch.no_grad():
            return self._array(predictor(x.clone()))

    def _array(self, made: object, kind: type = object) -> NDArray[Any]:
        if not isinstance(made, kind) or isinstance(made, Mapping | tuple):
            raise ValueError(
                f"what {_called(self.train)} returned makes a {type(made).__name__} of rows: expected "
                f"{'a tensor' if kind is Tensor else 'an array'}, (N,) class ids or values, or (N, num_classes)"
            )
        return host_array(made) if isinstance(made, Tensor) else np.asarray(made)


@dataclass(frozen=True)
class _Trains:
    """Makes an estimator of a training function."""

    train: TrainFn

    def __call__(self, seed: int, **settings: Any) -> OnRows:
        return OnRows(self.train, seed, settings)


@dataclass(frozen=True)
class _Makes:
    """Makes an estimator by its class."""

    kind: type[Estimator]

    def __call__(self, seed: int, **settings: Any) -> Estimator:
        draws = _RANDOM_STATE in inspect.signature(self.kind).parameters
        return self.kind(**(settings | ({_RANDOM_STATE: _state(seed)} if draws else {})))


@dataclass(frozen=True, eq=False)
class _Clones:
    """Makes copies of an estimator of scikit-learn that has not been fitted, with other random states."""

    estimator: Any

    def __call__(self, seed: int, **settings: Any) -> Estimator:
        made = _unfitted(self.estimator).set_params(**settings)
        states = [key for key in made.get_params() if key == _RANDOM_STATE or key.endswith(f"__{_RANDOM_STATE}")]
        made.set_params(**dict.fromkeys(states, _state(seed)))
        estimator: Estimator = made
        return estimator


def _unfitted(estimator: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator)


def _state(seed: int) -> int:
    # What scikit-learn takes as a seed.
    return seed % 2**32


def _factory(model: Any) -> Callable[..., Estimator]:
    if inspect.isclass(model):
        if not (callable(getattr(model, "fit", None)) and callable(getattr(model, "predict", None))):
            raise TypeError(f"{model!r}: expected a class with fit and predict")
        kind: Any = model
        return _Makes(kind)
    if hasattr(model, "fit") and hasattr(model, "predict"):
        if not hasattr(model, "get_params"):
            raise TypeError(
                f"{model!r} cannot be cloned, as scikit-learn's estimators can: pass its class, or a training function"
            )
        return _Clones(_unfitted(model))
    if callable(model):
        _check_arguments(model)
        return _Trains(_sameness.snapshot(model))
    raise TypeError(f"{model!r}: expected a name, an estimator, a class of them, or a function train(rows, seed)")


def _check_arguments(train: TrainFn) -> None:
    try:
        inspect.signature(train).bind_partial(None, 0)
    except TypeError as error:
        raise TypeError(f"{_called(train)}: expected a function train(rows, seed): {error}") from None
    except ValueError:
        # What has no signature is called and seen.
        return


def _called(train: object) -> str:
    return str(getattr(train, "__qualname__", None) or repr(train))
