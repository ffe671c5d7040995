"""Learners by name."""

import pytest
from sklearn.linear_model import LinearRegression

from gradshape import learners


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'ridge' exists already"):
        learners.register("ridge", lambda seed: LinearRegression())
