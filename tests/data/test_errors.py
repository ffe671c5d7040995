import pickle
from pathlib import Path

import pytest

from gradshape.data import DataError, DataUnavailable


def test_unavailable_names_set_place_and_command() -> None:
    error = DataUnavailable("cifar10", "looked in /data/cifar10")
    assert str(error) == (
        "data set 'cifar10' is not available: looked in /data/cifar10. "
        "Fetch it with: python -m gradshape.data fetch cifar10"
    )
    assert (error.name, error.command) == ("cifar10", "python -m gradshape.data fetch cifar10")


def test_unavailable_is_a_missing_file() -> None:
    assert issubclass(DataUnavailable, FileNotFoundError)


def test_data_error_is_a_value_error_that_names_the_file() -> None:
    error = DataError("some/file.gz", "is empty: expected an IDX file")
    assert isinstance(error, ValueError)
    assert error.path == Path("some/file.gz")
    assert str(error) == "some/file.gz is empty: expected an IDX file. Replace this file, or remove it."


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(DataError("some/file.gz", "is empty"), id="DataError"),
        pytest.param(DataUnavailable("toy", "not there", "fetch it"), id="DataUnavailable"),
    ],
)
def test_error_survives_the_way_between_processes(error: Exception) -> None:
    restored = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(restored), str(restored), vars(restored)) == (type(error), str(error), vars(error))
