"""The registry of learners: objects with ``fit`` and ``predict``, built by name.

Some of scikit-learn's classifiers and regressors are registered; add others with :func:`register`.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gradshape import _global_state, _validate
from gradshape._randomness import process_randomness
from gradshape.learners._sharing import shared_parts, unchanged
from gradshape.learners.linear import Penalty
from gradshape.learners.margin_loss import MarginLoss, SmoothedHinge

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
        """Return ``(N,)`` class ids, or values; or a number for each class, ``(N, num_classes)``."""
        ...


Factory = Callable[..., Estimator]


@dataclass(frozen=True)
class Learner:
    """What is registered under a name.

    Attributes:
        factory: makes an estimator, as ``factory(seed, **settings)``.
        penalty: of a linear regression, takes the estimator and the number of rows that it is fitted to, and returns
            the penalty that it adds to half the *mean* squared error; ``None`` for any other learner.
        loss: that of the margins, for attacks and defences that train a linear classifier in the learner's place;
            ``None`` to leave the choice to them.
    """

    factory: Factory
    _: KW_ONLY
    penalty: Callable[[Any, int], Penalty] | None = None
    loss: MarginLoss | None = None


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


def _no_penalty(estimator: Any, rows: int) -> Penalty:
    return Penalty()


def _ridge_penalty(estimator: Any, rows: int) -> Penalty:
    # scikit-learn's ridge regression adds its penalty to the sum of the squared errors.
    return Penalty(l2=float(estimator.alpha) / rows)


def _lasso_penalty(estimator: Any, rows: int) -> Penalty:
    return Penalty(l1=float(estimator.alpha))


_LEARNERS: dict[str, Learner] = {
    "svm_linear": Learner(_svm_linear, loss=SmoothedHinge()),
    "svm_rbf": Learner(_svm_rbf, loss=SmoothedHinge()),
    "logistic": Learner(_logistic),
    "naive_bayes": Learner(_naive_bayes),
    "spambayes": Learner(_spambayes),
    "dp_logistic_objective": Learner(_dp_logistic_objective),
    "dp_ridge_output": Learner(_dp_ridge_output),
    "linear": Learner(_linear, penalty=_no_penalty),
    "ridge": Learner(_ridge, penalty=_ridge_penalty),
    "lasso": Learner(_lasso, penalty=_lasso_penalty),
}
_OWN = frozenset(_LEARNERS)
# What the estimators of a registered learner share that have the same settings, with the learner.
_shared: dict[tuple[int, frozenset[tuple[str, Setting]]], tuple[Learner, tuple[object, ...]]] = {}


def names() -> list[str]:
    """Return the names that :func:`build` knows.

    >>> "svm_linear" in names()
    True
    """
    return sorted(_LEARNERS)


def register(
    name: str,
    factory: Factory,
    *,
    penalty: Callable[[Any, int], Penalty] | None = None,
    loss: MarginLoss | None = None,
) -> None:
    """Register ``factory(seed, **settings)``, which returns a new :class:`Estimator`, under ``name``.

    Estimators share nothing that a fit changes: the factory makes new parts at every call. It is called twice more for
    every choice of settings, to see to that.

    What the estimator draws from the random generators of the process (NumPy's, Python's, torch's) comes from the seed
    as well. Classifiers predict class ids.

    Args:
        name: for :class:`gradshape.training.Fit`.
        factory: makes an estimator.
        penalty, loss: see :class:`Learner`. Attacks and defences that train the victim's model themselves ask for them.

    Raises:
        ValueError: the name is taken, or the factory's first argument is not the seed. It has to be called ``seed`` or
            ``random_state``, or to be the only one that is passed by position.
    """
    if name in _LEARNERS:
        raise ValueError(f"estimator {name!r} exists already: register it under another name")
    _check_takes_seed(name, factory)
    _LEARNERS[name] = Learner(factory, penalty=penalty, loss=loss)


def _check_takes_seed(name: str, factory: Factory) -> None:
    called = getattr(factory, "__name__", type(factory).__name__)
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    first = positional[0] if positional else None
    if first is not None and first.name in ("seed", "random_state"):
        return
    # If the factory is a class or takes several arguments, its first one is probably a setting, which would receive the
    # seed.
    if first is not None and len(positional) == 1 and first.default is first.empty and not inspect.isclass(factory):
        return
    found = "none" if first is None else repr(first.name)
    make = f"{called}(random_state=seed, **settings)" if inspect.isclass(factory) else "..."
    raise ValueError(
        f"estimator {name!r}: the factory {called} gets the seed as its first argument, and its first one is {found}: "
        f"write register({name!r}, lambda seed, **settings: {make}), or without random_state if it draws nothing"
    )


def registered() -> dict[str, Learner]:
    """Return the learners that were added with :func:`register`, by name."""
    return {name: learner for name, learner in _LEARNERS.items() if name not in _OWN}


def restore(learners: Mapping[str, Learner]) -> None:
    """Register in this process the learners that :func:`registered` returned in another."""
    _LEARNERS.update(learners)


def is_ours(name: str) -> bool:
    """Return whether the learner is the library's, which draws nothing from the random generators of the process."""
    return name in _OWN


def learner(name: str) -> Learner:
    """Return what is registered as ``name``.

    Raises:
        ValueError: no estimator has this name; the message lists near matches.
    """
    if name not in _LEARNERS:
        raise _validate.unknown("estimator", name, _LEARNERS)
    return _LEARNERS[name]


def build(name: str, settings: Mapping[str, Setting], *, seed: int = 0) -> Estimator:
    """Build a fresh estimator.

    Args:
        name: one of :func:`names`.
        settings: its keyword arguments.
        seed: source of its randomness, if it has any.

    Raises:
        ValueError: unknown name (near matches are listed), a setting that the estimator does not have, or a registered
            factory that returns the same estimator again.

    >>> build("svm_linear", {"c": 2.0}).C
    2.0
    """
    if name not in _OWN:
        _shared_by(name, settings)
    return _made(name, settings, seed)


def keeping_apart(name: str, settings: Mapping[str, Setting]) -> AbstractContextManager[None]:
    """Check that what is done to an estimator in this context changes no other one of the same name and settings.

    Parts that cannot be pickled are not looked at.

    Raises:
        ValueError: at the end: it changed a part that the factory gives to all of them.
    """
    return nullcontext() if name in _OWN else unchanged(_shared_by(name, settings), name)


def _shared_by(name: str, settings: Mapping[str, Setting]) -> tuple[object, ...]:
    """Return what the estimators of a registered factory share.

    Raises:
        ValueError: it returns the same estimator at every call, or cannot make one.
    """
    registered = learner(name)
    key = id(registered), frozenset(settings.items())
    if key not in _shared:
        # Whoever asks has seeded the generators for an estimator of its own.
        with process_randomness(torch.device("cpu")), _global_state.restored():
            one, other = (_made(name, settings, 0) for _ in range(2))
        if one is other:
            raise ValueError(
                f"the factory of estimator {name!r} returned the same {type(one).__name__} twice, so that one victim "
                "would train the other's: expected a new estimator at every call"
            )
        _shared[key] = registered, shared_parts(one, other)
    return _shared[key][1]


def _made(name: str, settings: Mapping[str, Setting], seed: int) -> Estimator:
    try:
        return learner(name).factory(seed, **settings)
    except TypeError as error:
        raise ValueError(f"estimator {name!r} with settings {dict(settings)!r}: {error}") from error


def check_classes(predicted: Array, rows: int, num_classes: int, name: str) -> NDArray[np.int64]:
    """Return what a classifier predicted for ``rows`` rows as class ids, -1 where it is not finite.

    Args:
        predicted: class ids ``(rows,)``; or a number for each class, ``(rows, num_classes)``: the largest one counts.
        rows: number of rows.
        num_classes: number of classes.
        name: of the estimator, for errors.

    Raises:
        ValueError: other shape, or a value that is no class id, such as a probability or a name.

    >>> check_classes(np.array([2.0, np.nan]), 2, 3, "mine")
    array([ 2, -1])
    >>> check_classes(np.array([[0.2, 0.7, 0.1]]), 1, 3, "mine")
    array([1])
    """
    ids = f"class ids 0..{num_classes - 1}"
    array = np.asarray(predicted)
    if num_classes > 1 and array.shape == (rows, num_classes):
        scores = _numbers(array, name, "a number for each class")
        return np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), -1).astype(np.int64)
    if array.shape != (rows,):
        raise ValueError(
            f"estimator {name!r} predicted an array {array.shape}: expected ({rows},), {ids}, or "
            f"({rows}, {num_classes}), a number for each class"
        )
    array = _numbers(array, name, ids)
    finite = np.isfinite(array)
    bad = finite & ((array < 0) | (array >= num_classes) | (array != np.trunc(array)))
    if bad.any():
        row = int(bad.argmax())
        value = array[row].item()
        hint = " (a probability? predict() has to return the class)" if 0 < value < 1 else ""
        raise ValueError(f"estimator {name!r} predicted {value!r} for row {row}: expected {ids}{hint}")
    return np.where(finite, array, -1).astype(np.int64)


def check_values(predicted: Array, rows: int, name: str) -> NDArray[np.float64]:
    """Return what a regressor predicted for ``rows`` rows; values may not be finite.

    Args:
        predicted: ``(rows,)`` or ``(rows, 1)``.
        rows: number of rows.
        name: of the estimator, for errors.

    Raises:
        ValueError: other shape, or something else than numbers.

    >>> check_values(np.array([[0.25], [0.5]]), 2, "mine")
    array([0.25, 0.5 ])
    """
    array = np.asarray(predicted)
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"estimator {name!r} predicted an array {array.shape}: expected ({rows},) or ({rows}, 1), one number a row"
        )
    return _numbers(array.reshape(rows), name, "numbers").astype(np.float64)


def _numbers(array: Array, name: str, expected: str) -> Array:
    if array.dtype.kind not in "biuf":
        first = f", such as {array.flat[0]!r}" if array.size else ""
        raise ValueError(f"estimator {name!r} predicted values of type {array.dtype}{first}: expected {expected}")
    return array
