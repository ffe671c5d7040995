"""Private linear learners as estimators with ``fit`` and ``predict``."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradshape import _seeds
from gradshape.learners.private import OutputPerturbation, PrivateLearner, to_ball

Array = NDArray[Any]


class PrivateEstimator:
    """A private learner that is fitted on rows in the unit box.

    Rows are moved into the unit ball by :func:`gradshape.learners.private.to_ball`, which depends on no data. There is
    no bias: the hyperplane goes through the middle of the box. With integer labels it is a classifier of two classes,
    with floating-point ones in [0, 1] a regressor.

    Args:
        learner: one of :mod:`gradshape.learners.private`.
        seed: source of the random vector.

    >>> from gradshape.learners.private import ObjectivePerturbation
    >>> x, y = np.repeat([[0.0, 1.0], [1.0, 0.0]], 500, axis=0), np.repeat([0, 1], 500)
    >>> PrivateEstimator(ObjectivePerturbation(1.0), seed=0).fit(x, y).predict(x[[0, -1]]).tolist()
    [0, 1]
    """

    def __init__(self, learner: PrivateLearner, *, seed: int) -> None:
        self.learner = learner
        self._seed = seed
        self._classes: Array | None = None
        self._theta: Tensor | None = None

    def fit(self, x: Array, y: Array, /) -> "PrivateEstimator":
        """Train on ``x (N, D)`` in [0, 1] and ``y (N,)``.

        Raises:
            ValueError: rows or labels are out of range, there are not two classes, or the learner cannot regress.
        """
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim != 2 or y.shape != (len(x),):
            raise ValueError(f"x has shape {x.shape} and y {y.shape}: expected (N, D) and (N,)")
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueError(f"x has values in [{x.min():g}, {x.max():g}]: expected [0, 1]")
        if y.dtype.kind == "f":
            if not isinstance(self.learner, OutputPerturbation):
                raise ValueError("y has floating-point values: expected class ids, this learner is a classifier")
            if not bool(((y >= 0) & (y <= 1)).all()):
                raise ValueError(f"y has values in [{y.min():g}, {y.max():g}]: expected [0, 1]")
            self._classes, signs = None, 2 * y - 1
        else:
            self._classes = np.unique(y)
            if len(self._classes) != 2:
                raise ValueError(f"y has the classes {self._classes.tolist()}: expected two")
            signs = np.where(y == self._classes[1], 1.0, -1.0)
        generator = _seeds.stream(self._seed, "private learner")
        noise = self.learner.perturbation(len(x)).draw(1, x.shape[1], generator=generator)
        rows = to_ball(torch.from_numpy(np.ascontiguousarray(x)))
        self._theta = self.learner.solve(rows, torch.from_numpy(signs), noise).released[0]
        return self

    def predict(self, x: Array, /) -> Array:
        """Predict ``(N,)`` class ids, or values in [0, 1].

        Raises:
            ValueError: nothing was fitted.
        """
        if self._theta is None:
            raise ValueError("the learner was not trained: call fit(x, y) first")
        scores: Array = (to_ball(torch.from_numpy(np.ascontiguousarray(x))) @ self._theta).numpy()
        if self._classes is None:
            return np.clip((scores + 1) / 2, 0, 1)
        chosen: Array = self._classes[(scores > 0).astype(np.int64)]
        return chosen
