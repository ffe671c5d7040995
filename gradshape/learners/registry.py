"""The registry of learners: objects with ``fit`` and ``predict``, built by name.

Some of scikit-learn's classifiers and regressors are registered; add others with :func:`register`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradshape import _validate

Array = NDArray[Any]
Setting = bool | int | float | str


class Estimator(Protocol):
    """A learner with scikit-learn's ``fit`` and ``predict``.

    ``x`` is ``(N, D)`` float64 in [0, 1]; ``y`` is ``(N,)`` int64 class ids, or float64 values for regression.
    """

    def fit(self, x: Array, y: Array, /) -> object:
        """Train from scratch."""
        ...

    def predict(self, x: Array, /) -> Array:
        """``(N,)`` class ids, or values."""
        ...


Factory = Callable[..., Estimator]


def _svm_linear(seed: int, *, c: float = 1.0) -> Estimator:
    from sklearn.svm import SVC

    return SVC(kernel="linear", C=c, random_state=0)  # type: ignore[no-any-return]


def _svm_rbf(seed: int, *, c: float = 1.0, gamma: float | str = "scale") -> Estimator:
    from sklearn.svm import SVC

    return SVC(kernel="rbf", C=c, gamma=gamma, random_state=0)  # type: ignore[no-any-return]


def _logistic(seed: int, *, c: float = 1.0) -> Estimator:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=1000)  # type: ignore[no-any-return]


def _naive_bayes(seed: int, *, alpha: float = 1.0) -> Estimator:
    from sklearn.naive_bayes import BernoulliNB

    return BernoulliNB(alpha=alpha, binarize=0.5)  # type: ignore[no-any-return]


def _spambayes(seed: int, *, variant: str = "released", cutoff: float | None = None, **constants: float) -> Estimator:
    from dataclasses import replace

    from gradshape.learners.spambayes import PAPER, RELEASED, SpamBayes

    variants = {"released": RELEASED, "paper": PAPER}
    if variant not in variants:
        raise _validate.unknown("variant", variant, variants)
    return SpamBayes(replace(variants[variant], **constants), cutoff=cutoff)  # type: ignore[arg-type]


def _dp_logistic_objective(seed: int, *, epsilon: float = 1.0, noise: str = "norm", **settings: Any) -> Estimator:
    from gradshape.learners._private_estimator import PrivateEstimator
    from gradshape.learners.private import ObjectivePerturbation, PrivateNoise

    kind = _validate.member_called("noise", PrivateNoise, noise)
    return PrivateEstimator(ObjectivePerturbation(epsilon, noise=kind, **settings), seed=seed)


def _dp_ridge_output(seed: int, *, epsilon: float = 1.0, noise: str = "norm", **settings: Any) -> Estimator:
    from gradshape.learners._private_estimator import PrivateEstimator
    from gradshape.learners.private import OutputPerturbation, PrivateNoise

    kind = _validate.member_called("noise", PrivateNoise, noise)
    return PrivateEstimator(OutputPerturbation(epsilon, noise=kind, **settings), seed=seed)


def _linear(seed: int) -> Estimator:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()  # type: ignore[no-any-return]


def _ridge(seed: int, *, alpha: float = 1.0) -> Estimator:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=alpha)  # type: ignore[no-any-return]


def _lasso(seed: int, *, alpha: float = 0.001) -> Estimator:
    from sklearn.linear_model import Lasso

    return Lasso(alpha=alpha, max_iter=10_000)  # type: ignore[no-any-return]


_FACTORIES: dict[str, Factory] = {
    "svm_linear": _svm_linear,
    "svm_rbf": _svm_rbf,
    "logistic": _logistic,
    "naive_bayes": _naive_bayes,
    "spambayes": _spambayes,
    "dp_logistic_objective": _dp_logistic_objective,
    "dp_ridge_output": _dp_ridge_output,
    "linear": _linear,
    "ridge": _ridge,
    "lasso": _lasso,
}


_OWN = frozenset(_FACTORIES)


def names() -> list[str]:
    """Names that :func:`build` knows.

    >>> "svm_linear" in names()
    True
    """
    return sorted(_FACTORIES)


def register(name: str, factory: Factory) -> None:
    """Make ``factory(seed, **settings)``, which returns an :class:`Estimator`, known as ``name``.

    Raises:
        ValueError: the name is taken.
    """
    if name in _FACTORIES:
        raise ValueError(f"estimator {name!r} exists already: register it under another name")
    _FACTORIES[name] = factory


def registered() -> dict[str, Factory]:
    """The factories that were added with :func:`register`, by name."""
    return {name: factory for name, factory in _FACTORIES.items() if name not in _OWN}


def restore(factories: Mapping[str, Factory]) -> None:
    """Register the factories that :func:`registered` returned in another process."""
    _FACTORIES.update(factories)


def factory(name: str) -> Factory:
    """The factory registered as ``name``.

    Raises:
        ValueError: no estimator has this name; the message lists near matches.
    """
    if name not in _FACTORIES:
        raise _validate.unknown("estimator", name, _FACTORIES)
    return _FACTORIES[name]


def build(name: str, settings: Mapping[str, Setting], *, seed: int = 0) -> Estimator:
    """A fresh estimator.

    Args:
        name: one of :func:`names`.
        settings: its keyword arguments.
        seed: source of its randomness, if it has any.

    Raises:
        ValueError: unknown name (near matches are listed), or a setting that the estimator does not have.

    >>> build("svm_linear", {"c": 2.0}).C
    2.0
    """
    make = factory(name)
    try:
        return make(seed, **settings)
    except TypeError as error:
        raise ValueError(f"estimator {name!r} with settings {dict(settings)!r}: {error}") from error


def check_predictions(predicted: Array, rows: int, name: str) -> Array:
    """``predicted`` as an array ``(rows,)``.

    Raises:
        ValueError: it has another shape.
    """
    array = np.asarray(predicted)
    if array.shape != (rows,):
        raise ValueError(f"estimator {name!r} predicted an array {array.shape}: expected ({rows},)")
    return array
