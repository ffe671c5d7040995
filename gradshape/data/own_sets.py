"""Data sets of the user's own that are loaded by name: kept in memory, or made when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gradshape import _sameness
from gradshape.data._checks import check_name
from gradshape.data.base import Dataset
from gradshape.data.source import RawSplit, Source, registered

# Returns the data set whenever it is called: always the same rows.
Loader = Callable[[], Dataset]


@dataclass(frozen=True, eq=False)
class _Given:
    """A data set, or what loads it."""

    source: Source
    load: Loader
    dataset: Dataset | None = None


_given: dict[str, _Given] = {}


def remember(dataset: Dataset | Loader, *, name: str | None = None) -> str:
    """Make a data set loadable by its name in this process.

    Args:
        dataset: the data set; or a function that returns it, which is called only when its rows are needed.
        name: what it is called by; by default the data set's own name, or that of the function.

    Returns:
        The name.

    Raises:
        TypeError: ``dataset`` is neither.
        ValueError: the name has other characters than letters, digits and ``_``, or stands for other rows already.

    >>> import torch
    >>> from gradshape.data import Split, load
    >>> rows = Split(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    >>> load(remember(Dataset("mine", rows, rows, num_classes=2))).name
    'mine'
    """
    if isinstance(dataset, Dataset):
        given = _kept(replace(dataset, name=name or dataset.name))
    elif callable(dataset):
        given = _loaded(dataset, name or str(getattr(dataset, "__name__", type(dataset).__name__)))
    else:
        raise TypeError(f"{dataset!r}: expected a Dataset, or a function that returns one; see data.from_rows")
    called = given.source.name
    check_name(called)
    before = _given.get(called)
    if called in registered() or (before is not None and not _same(before, given)):
        raise ValueError(f"name={called!r}: another data set is called so: give this one another name")
    _given[called] = given
    return called


def known(name: str) -> Source | None:
    """Return what is known of a remembered data set; ``None`` if none has this name."""
    return _given[name].source if name in _given else None


def load_remembered(name: str) -> Dataset:
    """Load a remembered data set.

    Raises:
        KeyError: none has this name.
        TypeError: its function returned no :class:`Dataset`.
    """
    dataset = _given[name].load()
    if not isinstance(dataset, Dataset):
        raise TypeError(f"data set {name!r}: its function returned a {type(dataset).__name__}: expected a Dataset")
    return dataset if dataset.name == name else replace(dataset, name=name)


def _kept(dataset: Dataset) -> _Given:
    source = Source(
        dataset.name,
        dataset.description,
        _in_memory,
        shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        rows=(len(dataset.train), len(dataset.test)),
    )
    return _Given(source, lambda: dataset, dataset=dataset)


def _loaded(load: Loader, name: str) -> _Given:
    about = (load.__doc__ or "").strip().partition("\n")[0]
    return _Given(Source(name, about, _in_memory), _sameness.snapshot(load))


def _in_memory(folder: Path) -> tuple[RawSplit, RawSplit]:
    raise AssertionError("a data set in memory is not read from files")


def _same(one: _Given, other: _Given) -> bool:
    if one.dataset is not None and other.dataset is not None:
        return one.dataset.fingerprint == other.dataset.fingerprint
    return one.dataset is other.dataset and _sameness.same(one.load, other.load)
