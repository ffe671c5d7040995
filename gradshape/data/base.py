"""What a data set is: two labelled splits whose values are checked once, and a hash of them."""

import copy
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gradshape import _digest
from gradshape.data._checks import outside
from gradshape.data._copies import Copier
from gradshape.data.stratified import stratified_order
from gradshape.data.units import Units

# What copies the rows of a split; kept apart from it, so that a split that is sent to another process is plain rows.
_copiers: "WeakKeyDictionary[Split, tuple[Copier, Copier]]" = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled rows.

    Attributes:
        x: ``(N, *shape)`` float32, every value in [0, 1].
        y: ``(N,)`` int64 class ids; for regression float32 values in [0, 1].
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over both arrays and their shapes."""
        return _digest.of(self.x, self.y)

    def to(self, device: torch.device) -> "Split":
        """Return the same rows on ``device``."""
        return Split(self.x.to(device), self.y.to(device))

    def copy(self) -> "Split":
        """Return a copy, to hand to code that may write to it. Large rows take memory once only, however many copies.

        >>> rows = Split(torch.zeros(2, 3), torch.tensor([0, 1]))
        >>> rows.copy().x.fill_(1).sum(), rows.x.sum()
        (tensor(6.), tensor(0.))
        """
        if self not in _copiers:
            _copiers[self] = Copier(self.x), Copier(self.y)
        x, y = _copiers[self]
        return Split(x.copy(), y.copy())


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split of one classification or regression task.

    The arrays are checked at construction and must not be written to afterwards: ``fingerprint``
    names them in caches and records. Attacks, defences and whatever else is not the library's get copies.

    Attributes:
        name: the name it was loaded by, or the name of its file without the suffix.
        train, test: the splits; their rows have one shape.
        num_classes: labels are in ``[0, num_classes)``; 0 for regression.
        description: one line on what this is and where it comes from.
        units: the range that the values had before they were mapped to [0, 1], and have again for networks and training
            functions of the user's own; ``None`` where that is [0, 1].

    Raises:
        ValueError: a split is empty, its shapes or dtypes differ from the above, or a value is not
            finite or lies outside [0, 1]; the message names split, value and expectation.
    """

    name: str
    train: Split
    test: Split
    _: KW_ONLY
    num_classes: int
    description: str = field(default="", compare=False)
    units: Units | None = None

    def __post_init__(self) -> None:
        for split_name, split in (("train", self.train), ("test", self.test)):
            _check_split(f"{self.name}: {split_name}", split, self.num_classes)
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise ValueError(
                f"{self.name}: train rows have shape {tuple(self.train.x.shape[1:])}, "
                f"test rows {tuple(self.test.x.shape[1:])}: expected the same"
            )

    @property
    def regression(self) -> bool:
        """Whether a number is to be predicted rather than a class."""
        return self.num_classes == 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row, without the sample axis."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over both splits, the number of classes, and the units if there are any."""
        units = () if self.units is None else (self.units,)
        return _digest.name((self.num_classes, self.train.fingerprint, self.test.fingerprint, *units))

    def copy(self) -> "Dataset":
        """Return a copy, to hand to code that may write to it; see :meth:`Split.copy`."""
        return self.with_copies(self.train.copy(), self.test.copy())

    def with_copies(self, train: Split, test: Split) -> "Dataset":
        """Return the same task with copies of its rows, whose values are not checked again."""
        twin = copy.copy(self)
        # What is hashed of the copy are its own rows.
        vars(twin).pop("fingerprint", None)
        vars(twin).update(train=train, test=test)
        return twin

    def subset(self, *, train: int | None = None, test: int | None = None, seed: int = 0) -> "Dataset":
        """Return the same task with at most ``train`` and ``test`` rows, drawn by seed and balanced by class.

        A split that has no more rows than asked for is kept whole. Classes keep their shares as
        closely as whole rows allow; rows of a regression task are drawn uniformly.
        """
        return Dataset(
            name=self.name,
            train=_draw(self.train, train, self.num_classes, seed),
            test=_draw(self.test, test, self.num_classes, seed + 1),
            num_classes=self.num_classes,
            description=self.description,
            units=self.units,
        )


def _draw(split: Split, count: int | None, num_classes: int, seed: int) -> Split:
    if count is None or count >= len(split):
        return split
    if count < 1:
        raise ValueError(f"subset size {count!r}: expected at least 1 row")
    generator = torch.Generator().manual_seed(seed)
    # The values of a regression are not balanced.
    classes = split.y if num_classes else torch.zeros(len(split), dtype=torch.int64)
    rows = stratified_order(classes, generator=generator)[:count].sort().values
    return Split(split.x[rows], split.y[rows])


def _check_split(where: str, split: Split, num_classes: int) -> None:
    x, y = split.x, split.y
    label_dtype = torch.int64 if num_classes else torch.float32
    if x.dtype != torch.float32 or y.dtype != label_dtype:
        raise ValueError(f"{where}: x is {x.dtype} and y is {y.dtype}: expected torch.float32 and {label_dtype}")
    if y.ndim != 1 or x.ndim < 2 or len(x) != len(y):
        raise ValueError(f"{where}: x has shape {tuple(x.shape)} and y {tuple(y.shape)}: expected (N, ...) and (N,)")
    if len(y) == 0:
        raise ValueError(f"{where}: has no rows: expected at least 1")
    _check_range(f"{where}: x", x)
    if num_classes == 0:
        _check_range(f"{where}: y", y)
    elif y.min() < 0 or y.max() >= num_classes:
        raise ValueError(
            f"{where}: labels lie in [{int(y.min())}, {int(y.max())}]: expected class ids in [0, {num_classes})"
        )


def _check_range(where: str, values: Tensor) -> None:
    if values.numel() == 0:
        raise ValueError(f"{where} has shape {tuple(values.shape)}: expected at least one value a row")
    low, high = values.aminmax()  # NaN if any value is NaN, so that good data is read only once
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{where} {outside(values.cpu().numpy())}: expected values in [0, 1]")
