"""Data sets of the user's own by name."""

import functools

import pytest
import torch

from gradshape.data import Dataset, Split, info, load, remember


def dataset(name: str = "mine", *, first: float = 0.5) -> Dataset:
    rows = Split(torch.tensor([[first], [0.25]]), torch.tensor([0, 1]))
    return Dataset(name, rows, rows, num_classes=2)


def test_a_data_set_is_loaded_by_its_name() -> None:
    own = dataset()
    assert remember(own) == "mine"
    assert load("mine").fingerprint == own.fingerprint
    assert (info("mine").rows, info("mine").num_classes, info("mine").embedded) == ((2, 2), 2, True)


def test_a_function_is_called_when_its_rows_are_needed() -> None:
    calls = []

    def slow() -> Dataset:
        """Rows that take long."""
        calls.append(1)
        return dataset("whatever")

    assert remember(slow, name="slow") == "slow"
    assert info("slow").description == "Rows that take long."
    assert not calls
    assert load("slow").name == "slow"
    assert calls


def test_a_name_may_be_given() -> None:
    assert load(remember(dataset(), name="other")).name == "other"


def test_the_same_rows_may_be_remembered_again() -> None:
    remember(dataset())
    remember(dataset())


@pytest.mark.parametrize("other", [dataset(first=0.1), dataset("digits")], ids=["mine", "the library's"])
def test_other_rows_of_one_name_are_refused(other: Dataset) -> None:
    remember(dataset())
    with pytest.raises(ValueError, match="another data set is called so: give this one another name"):
        remember(other)


def test_another_function_of_one_name_is_refused() -> None:
    remember(dataset, name="made")
    remember(dataset, name="made")
    for other in (lambda: dataset(), lambda: dataset(first=0.1)):
        with pytest.raises(ValueError, match="another data set is called so"):
            remember(other, name="made")
    remember(lambda: dataset(), name="lambda")
    with pytest.raises(ValueError, match="another data set is called so"):
        remember(lambda: dataset(first=0.1), name="lambda")


@pytest.mark.parametrize("name", ["my-rows", "a b", "x/y"])
def test_a_name_that_cannot_stand_in_ids_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected letters, digits and underscores only"):
        remember(dataset(name))


def test_a_function_without_a_name_has_to_be_given_one() -> None:
    with pytest.raises(ValueError, match="pass name="):
        remember(lambda: dataset())


def test_what_is_no_data_set_is_refused() -> None:
    with pytest.raises(TypeError, match=r"3: expected a Dataset, or a function that returns one; see data.from_rows"):
        remember(3)  # type: ignore[arg-type]
    remember(lambda: 3, name="three")  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="'three': its function returned a int: expected a Dataset"):
        load("three")


def test_a_function_that_holds_other_values_takes_no_ones_place() -> None:
    assert remember(functools.partial(dataset, first=0.5), name="part") == "part"
    assert remember(functools.partial(dataset, first=0.5), name="part") == "part"
    with pytest.raises(ValueError, match="another data set is called so"):
        remember(functools.partial(dataset, first=0.75), name="part")
    assert float(load("part").train.x[0, 0]) == 0.5
