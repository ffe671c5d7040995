"""Data sets of rows that a user has in memory, of whatever kind."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data import Dataset as TorchDataset

from gradshape.data import Dataset, Split, from_rows

X = np.random.default_rng(0).random((12, 3)).astype(np.float32)
Y = np.arange(12) % 3


class Frame:
    """A table, as pandas has it: columns by name."""

    def __init__(self, columns: Mapping[Any, Any]) -> None:
        self._held = dict(columns)
        self.columns = list(columns)

    def __getitem__(self, name: Any) -> Any:
        return self._held[name]


class Hub:
    """A table, as Hugging Face's data sets have it."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._held = dict(columns)
        self.column_names = list(columns)

    def __getitem__(self, name: str) -> Any:
        return list(self._held[name])


class Items(TorchDataset[Any]):
    """A map-style data set of mappings."""

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"image": X[place], "label": int(Y[place])}


TENSORS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
COLUMNS = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": Y}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "arrays": ((X, Y), {}),
    "tensors": ((torch.from_numpy(X), torch.from_numpy(Y)), {}),
    "lists": ((X.tolist(), Y.tolist()), {}),
    "list of tensors": ((list(torch.from_numpy(X)), list(torch.from_numpy(Y))), {}),
    "mapping": ({"x": X, "y": Y}, {}),
    "split": (Split(torch.from_numpy(X), torch.from_numpy(Y)), {}),
    "torch data set": (TENSORS, {}),
    "torch data set of mappings": (Items(), {}),
    "loader": (DataLoader(TENSORS, batch_size=5, shuffle=True, drop_last=True), {}),
    "pandas": (Frame(COLUMNS), {"label": "kind"}),
    "hugging face": (Hub(COLUMNS), {"label": "kind"}),
    "one wide column": (Hub({"pixels": X, "kind": Y}), {"label": "kind"}),
}


def made(given: Any, **named: Any) -> Dataset:
    return from_rows(given, (X, Y), name="mine", **named)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_are_the_same_data_set_of_whatever_kind_they_are(kind: str) -> None:
    given, named = KINDS[kind]
    test = given
    found = from_rows(given, test, name="mine", **named)
    assert found.fingerprint == made((X, Y)).fingerprint
    assert (found.num_classes, found.input_shape) == (3, (3,))


@pytest.mark.parametrize(
    "labels",
    [
        [["no", "yes", "maybe"][y] for y in Y],
        np.array([["no", "yes", "maybe"][y] for y in Y], dtype=object),
        ["b" * (1 + y) for y in Y],
    ],
)
def test_classes_that_are_text_are_numbered_in_their_order(labels: Any) -> None:
    found = from_rows((X, labels), (X, labels), name="mine")
    names = sorted({str(one) for one in labels})
    assert [names[y] for y in found.train.y.tolist()] == [str(one) for one in labels]


def test_booleans_are_two_classes() -> None:
    found = from_rows((X, Y == 1), (X, Y == 1), name="mine")
    assert found.train.y.tolist() == (Y == 1).astype(int).tolist()
    assert found.num_classes == 2


def test_whole_floats_are_classes_and_a_number_of_classes_may_be_declared() -> None:
    assert made((X, Y.astype(np.float64))).num_classes == 3
    assert made((X, Y), num_classes=5).num_classes == 5


def test_values_outside_are_mapped_from_their_range() -> None:
    found = from_rows((6 * X - 3, Y), (6 * X - 3, Y), name="mine", value_range=(-3, 3))
    assert np.allclose(found.train.x.numpy(), X, atol=1e-6)
    assert found.units is not None
    assert np.allclose(found.units.from_unit(found.train.x).numpy(), 6 * X - 3, atol=1e-5)


def test_regression_keeps_its_numbers() -> None:
    found = from_rows((X, X[:, 0]), (X, X[:, 0]), name="mine", regression=True)
    assert found.regression
    assert torch.equal(found.train.y, torch.from_numpy(X[:, 0]))


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        (
            (3 * X, Y),
            {},
            r"mine: train features has .* expected values in \[0, 1\], or value_range=\(lowest, highest\)",
        ),
        (((255 * X).astype(np.uint8), Y), {}, r"value_range=\(lowest, highest\) \(0, 255\)"),
        ((np.where(X > 0.9, np.nan, X), Y), {}, "not finite"),
        (
            (3 * X, Y),
            {"value_range": (0, 2)},
            r"mine: train features: .* expected values in the declared range, \[0, 2\]",
        ),
        ((X, Y), {"value_range": 3}, "value_range=3: expected the lowest and the highest value"),
        ((X, Y), {"whole": True}, "whole=True: expected value_range"),
        ((X, Y / 2), {}, "labels are fractions: expected classes, or regression=True"),
        ((X, Y + 1), {}, "class 0 has no train rows"),
        ((X[:, 0], Y), {}, r"train features have shape \(12,\): expected \(N, ...\)"),
        ((np.full((12, 2), "a"), Y), {}, "expected numbers"),
        ((X[:5], Y), {}, "expected \\(N, ...\\) and \\(N,\\)"),
        ({"x": X, "z": Y}, {}, "train has 'x', 'z': expected 'x' and 'y' or"),
        (Frame(COLUMNS), {}, "label=None: expected the column of train that is to be predicted: 'a', 'b', 'c', 'kind'"),
        (Frame(COLUMNS), {"label": "sort"}, "label='sort'"),
        (Frame({**COLUMNS, "name": ["n"] * 12}), {"label": "kind"}, "column 'name' has other values than numbers"),
        (Frame({"kind": Y}), {"label": "kind"}, "no column but 'kind'"),
        (np.zeros((12, 8, 8, 3)), {}, "expected pairs"),
        ((np.zeros((12, 8, 8, 3)), Y), {}, "channels last"),
        (TensorDataset(torch.zeros(0, 3), torch.zeros(0)), {}, "train has no rows"),
    ],
)
def test_what_is_wrong_is_said_in_words(given: Any, named: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        made(given, **named)


def test_rows_of_no_known_kind_are_refused_with_the_kinds_that_are() -> None:
    with pytest.raises(TypeError, match=r"train=int: expected a pair \(x, y\) of arrays"):
        made(3)


@pytest.mark.parametrize("name", ["a-b", "", "a b", "a.b", "é", "a\n", 3])
def test_a_name_that_cannot_stand_in_ids_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"name=.*: expected letters, digits and underscores only"):
        from_rows((X, Y), (X, Y), name=name)


def test_a_class_of_test_rows_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="test rows have class 'new', train rows only 'a', 'b'"):
        from_rows((X[:2], ["a", "b"]), (X[:2], ["a", "new"]), name="mine")


SHUFFLED = {name: COLUMNS[name] for name in ("c", "kind", "b", "a")}


@pytest.mark.parametrize(
    ("table", "kind"), [(Frame, "columns"), (Hub, "columns"), (dict, "columns"), (Frame, "pair"), (Hub, "mapping")]
)
def test_columns_of_the_test_rows_are_taken_by_their_names(table: Any, kind: str) -> None:
    def given(columns: Mapping[str, Any]) -> Any:
        features = table({name: values for name, values in columns.items() if name != "kind"})
        return {"columns": table(columns), "pair": (features, Y), "mapping": {"x": features, "y": Y}}[kind]

    label = "kind" if kind == "columns" else None
    found = from_rows(given(COLUMNS), given(SHUFFLED), name="mine", label=label)
    assert found.fingerprint == made((X, Y)).fingerprint
    other = {("d" if name == "b" else name): values for name, values in COLUMNS.items()}
    with pytest.raises(ValueError, match="test lacks column 'b' and test has besides column 'd': expected the columns"):
        from_rows(given(COLUMNS), given(other), name="mine", label=label)
    fewer = {name: COLUMNS[name] for name in ("a", "kind")}
    with pytest.raises(ValueError, match=r"test lacks columns 'b', 'c': expected the columns of train"):
        from_rows(given(COLUMNS), given(fewer), name="mine", label=label)


def test_the_only_column_has_its_name_in_both() -> None:
    with pytest.raises(ValueError, match="test lacks column 'pixels' and test has besides column 'image'"):
        from_rows(Hub({"pixels": X, "kind": Y}), Hub({"image": X, "kind": Y}), name="mine", label="kind")


def test_columns_need_not_be_called_by_text() -> None:
    class Numbered(Frame):
        def __getitem__(self, name: Any) -> Any:
            assert isinstance(name, int)
            return self._held[name]

    columns: Any = {0: X[:, 0], 1: X[:, 1], 2: X[:, 2], 3: Y}
    table: Any = Numbered(columns)
    assert from_rows(table, table, name="mine", label="3").fingerprint == made((X, Y)).fingerprint


class Unknown:
    """What pandas' ``NA`` is like: neither equal to anything nor not."""

    def __ne__(self, other: object) -> Any:
        return self

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("missing", [None, np.nan, np.datetime64("NaT"), Unknown()], ids=["None", "NaN", "NaT", "NA"])
@pytest.mark.parametrize(
    "others", [["a", "b"], [0, 1], [0.0, 1.0], [True, False]], ids=["text", "ints", "floats", "bools"]
)
@pytest.mark.parametrize("kind", ["list", "objects", "columns", "items"])
def test_a_label_that_is_missing_is_no_class(missing: Any, others: list[Any], kind: str) -> None:
    labels = 4 * [*others, others[0]]
    holed = [*labels[:5], missing, *labels[6:10], missing, labels[11]]

    def given(y: list[Any]) -> Any:
        if kind == "columns":
            return Frame({**{name: COLUMNS[name] for name in "abc"}, "kind": np.array(y, dtype=object)})
        if kind == "items":
            return [(x, one) for x, one in zip(X, y, strict=True)]
        return X, (np.array(y, dtype=object) if kind == "objects" else y)

    label = "kind" if kind == "columns" else None
    for train, test, part in ((holed, labels, "train"), (labels, holed, "test")):
        with pytest.raises(ValueError, match=f"{part} has no label in row 5 and 1 more: expected one for each row"):
            from_rows(given(train), given(test), name="mine", label=label)


@pytest.mark.parametrize("regression", [False, True])
def test_a_number_that_is_missing_is_no_label(regression: bool) -> None:
    holed = np.where(np.arange(12) == 3, np.nan, Y / 4)
    for values in (holed, torch.from_numpy(holed), holed.tolist(), holed.astype(object)):
        with pytest.raises(ValueError, match="train has no label in row 3: expected one for each row"):
            made((X, values), regression=regression)


def test_numbers_that_are_objects_are_numbers() -> None:
    assert made((X, Y.astype(object))).fingerprint == made((X, Y)).fingerprint
    given = X, X[:, 0].astype(object)
    found = from_rows(given, given, name="mine", regression=True)
    assert torch.equal(found.train.y, torch.from_numpy(X[:, 0]))


def test_labels_of_a_regression_are_numbers() -> None:
    with pytest.raises(ValueError, match="train labels have type <U1: expected numbers"):
        made((X, ["a"] * 12), regression=True)


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TENSORS, **options)


def halved(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[int]]:
    return torch.stack([x / 2 for x, _ in items]), [int(y) for _, y in items]


class Reversed(Sampler[int]):
    """A sampler of the user's own."""

    def __iter__(self) -> Iterator[int]:
        return iter(reversed(range(len(Y))))


EVERY_OTHER = list(range(1, 12, 2))
PARTS: dict[str, tuple[DataLoader[Any], list[int]]] = {
    "subset": (loader(sampler=SubsetRandomSampler([7, 0, 5, 1]), batch_size=3), [7, 0, 5, 1]),
    "subset, one by one": (loader(sampler=SubsetRandomSampler([7, 0, 5, 1]), batch_size=None), [7, 0, 5, 1]),
    "subset without its last batch": (
        loader(sampler=SubsetRandomSampler(EVERY_OTHER), batch_size=4, drop_last=True),
        EVERY_OTHER,
    ),
    "subset in batches": (loader(batch_sampler=BatchSampler(SubsetRandomSampler(EVERY_OTHER), 4, True)), EVERY_OTHER),
    "list": (loader(sampler=EVERY_OTHER), EVERY_OTHER),
    "own": (loader(sampler=Reversed(), batch_size=5), list(reversed(range(12)))),
    "own batches": (loader(batch_sampler=[[1, 2], [0], [5, 3]]), [1, 2, 0, 5, 3]),
    "first rows": (loader(sampler=SequentialSampler(range(6))), list(range(6))),
    "shuffled": (loader(shuffle=True, batch_size=5, drop_last=True), list(range(12))),
}


@pytest.mark.parametrize("collate", [None, halved], ids=["plain", "collated"])
@pytest.mark.parametrize("kind", PARTS)
def test_a_loader_is_read_as_its_sampler_and_its_collate_fn_say(kind: str, collate: Any) -> None:
    given, places = PARTS[kind]
    x: Any = X
    if collate is not None:
        x = X / 2
        if given.batch_size is None and given.batch_sampler is None:
            collate = lambda item: (item[0] / 2, item[1])  # noqa: E731
        given = copy.copy(given)
        given.collate_fn = collate
    found, expected = (from_rows(rows, rows, name="mine", num_classes=3) for rows in (given, (x[places], Y[places])))
    assert found.fingerprint == expected.fingerprint


def test_a_table_in_a_loader_is_read_as_its_sampler_says() -> None:
    class Table(Hub):
        def __len__(self) -> int:
            return len(Y)

    table: Any = Table(COLUMNS)
    found = from_rows(DataLoader(table, sampler=EVERY_OTHER), Frame(SHUFFLED), name="mine", label="kind")
    assert found.fingerprint == from_rows((X[EVERY_OTHER], Y[EVERY_OTHER]), (X, Y), name="mine").fingerprint


def test_a_sampler_that_draws_draws_the_same_rows_whenever_it_is_read() -> None:
    def weighted(generator: torch.Generator | None) -> DataLoader[Any]:
        return loader(sampler=WeightedRandomSampler([1.0] * 12, 12, generator=generator))

    generator = torch.Generator().manual_seed(5)
    states = torch.get_rng_state(), generator.get_state()
    kept, drawn = weighted(generator), weighted(None)
    reads = [from_rows(kept, drawn, name="mine", num_classes=3) for _ in range(2)]
    assert reads[0].fingerprint == reads[1].fingerprint
    assert all(map(torch.equal, states, (torch.get_rng_state(), generator.get_state())))
    expected = list(WeightedRandomSampler([1.0] * 12, 12, generator=generator))
    assert torch.equal(reads[0].train.x, torch.from_numpy(X[expected]))
    assert len(np.unique(reads[0].test.x.numpy(), axis=0)) < 12


@pytest.mark.parametrize(
    ("made_of_a_batch", "message"),
    [
        (lambda items: torch.zeros(len(items), 3), "train has a Tensor as an item"),
        (lambda items: (torch.zeros(len(items), len(items)), torch.zeros(len(items))), "rows of shapes"),
    ],
)
def test_what_a_collate_fn_makes_is_pairs_of_one_shape(made_of_a_batch: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        made(loader(batch_size=5, collate_fn=made_of_a_batch))


def test_a_sampler_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="train has no rows"):
        made(loader(sampler=SubsetRandomSampler([])))


def test_a_stream_of_rows_is_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(TENSORS)

        def __len__(self) -> int:
            return len(Y)

    for given in (Stream(), DataLoader(Stream())):
        with pytest.raises(TypeError, match="train=Stream: expected a pair"):
            made(given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", ["tensors", "list of tensors", "torch data set", "mapping"])
def test_numbers_of_whatever_type_are_taken(dtype: torch.dtype, kind: str) -> None:
    x, y = torch.from_numpy(X).to(dtype), torch.from_numpy(Y).to(dtype)
    given: dict[str, Any] = {
        "tensors": (x, y),
        "list of tensors": (list(x), list(y)),
        "torch data set": TensorDataset(x, y),
        "mapping": {"x": x, "y": y},
    }
    found = made(given[kind])
    assert torch.equal(found.train.x, x.float())
    assert found.train.y.tolist() == Y.tolist()
