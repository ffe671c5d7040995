"""Choosing the targets of an experiment from a stored list or, where there is none, by seed."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gradshape import _seeds, _validate
from gradshape.data import Dataset, Split
from gradshape.training import Adam, Recipe, TrainedModel, Victim, train_victims
from gradshape_bench.targets.stored import StoredList, StoredTarget, row_digest, stored


@dataclass(frozen=True)
class Targets:
    """How many test rows to attack, and which class to make them be taken for.

    Args:
        count: how many targets each seed has at most. There are fewer where the base model misclassifies too many of
            the rows considered (four times ``count`` and ten more), or where there are no more rows.
        pair: class of the targets and class that they are to be taken for. ``None``: targets of any class, each of
            which is to be taken for the wrong class that is likeliest to logistic regression.

    Raises:
        ValueError: ``count`` is not positive, or ``pair`` is not two different class ids.

    Hong et al. 2020, section 6.3, have 100 targets of one class and one intended class.

    >>> Targets(100, (3, 4)).label, Targets(20).label
    ('3to4', '')
    """

    count: int
    pair: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _validate.positive_int(count=self.count)
        if self.pair is not None and not (isinstance(self.pair, tuple) and _are_two_classes(self.pair)):
            raise ValueError(f"pair={self.pair!r}: expected two different class ids in a tuple")

    @property
    def label(self) -> str:
        """The two classes for ids; empty without a pair."""
        return "" if self.pair is None else f"{self.pair[0]}to{self.pair[1]}"


def _are_two_classes(pair: tuple[object, ...]) -> bool:
    ids = [label for label in pair if isinstance(label, int) and not isinstance(label, bool) and label >= 0]
    return len(pair) == len(set(ids)) == 2


class TooFewTargets(ValueError):
    """There is no row to attack."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Test rows that may become targets, in the order in which they are considered.

    Attributes:
        rows: ``(M,)`` int64 places in the test split.
        x, y: the rows and their labels.
        intended: ``(M,)`` int64 classes that they are to be taken for.
        listed: ``(M,)`` bool: whether a row is from a stored list.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    intended: Tensor
    listed: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Tensor) -> "Chosen":
        return Chosen(self.rows[places], self.x[places], self.y[places], self.intended[places], self.listed[places])

    @property
    def split(self) -> Split:
        """The rows with their true labels."""
        return Split(self.x, self.y)

    def for_seed(self, seed: int, count: int) -> "Chosen":
        """Return the rows that a seed considers, in order, to attack ``count`` of them.

        Every seed begins at a place of its own, as far from those of the other seeds as possible, and goes round; where
        there are few rows, seeds share some. A seed considers four times as many rows as it attacks and ten more, so
        only a base model that classifies fewer than a quarter of them correctly has fewer targets.
        """
        # The fractional parts of multiples of the golden ratio are spread evenly, however many there are.
        start = int(seed * 0.6180339887498949 % 1 * len(self))
        return self[(torch.arange(min(len(self), 4 * count + 10)) + start) % len(self)]


def candidates(dataset: Dataset, targets: Targets) -> Chosen:
    """Return the rows that may become targets.

    Rows of the list that is stored for the data set come first, without those that are not in this test split and those
    that are to be taken for a class of which the split has no row. If a seed would consider more rows than these, the
    other rows of the class (or of all classes) follow in an order drawn by a fixed seed; each of them is to be taken
    for the wrong class that is likeliest to logistic regression.

    Raises:
        ValueError: the data set is a regression task, or does not have one of the classes.
        TooFewTargets: no test row can be a target, or there is no row of a class that targets could be taken for.
    """
    check(dataset, targets.pair)
    classes = set(dataset.test.y.tolist())
    if len(classes) < 2 or (targets.pair is not None and targets.pair[1] not in classes):
        intended = "another one" if targets.pair is None else str(targets.pair[1])
        raise TooFewTargets(
            f"{dataset.name}: its test rows are of the classes {sorted(classes)}: expected some of class {intended}, "
            "which targets are to be taken for"
        )
    found = _listed(dataset, targets)
    if len(found) < 4 * targets.count + 10:
        drawn = _drawn(dataset, targets, found.rows)
        found = Chosen(*(torch.cat([getattr(part, f.name) for part in (found, drawn)]) for f in fields(Chosen)))
    if not len(found):
        raise TooFewTargets(f"{dataset.name}: no test row is of class {targets.pair and targets.pair[0]}: no target")
    return found


def check(dataset: Dataset, pair: tuple[int, int] | None) -> None:
    """Raise ``ValueError`` if the data set is a regression task or does not have the classes of ``pair``."""
    if dataset.regression:
        raise ValueError(f"{dataset.name}: a regression task has no classes to be taken for: expected classes")
    if pair is None:
        return
    if max(pair) >= dataset.num_classes:
        raise ValueError(f"pair={pair!r}: {dataset.name} has the classes 0 to {dataset.num_classes - 1}")


def _listed(dataset: Dataset, targets: Targets) -> Chosen:
    found = stored(dataset.name, targets.pair)
    places = {} if found is None else _places(dataset.test, found)
    classes = set(dataset.test.y.tolist())
    here = [entry for entry in places if entry.intended in classes]
    rows, intended = [places[entry] for entry in here], [entry.intended for entry in here]
    return _chosen(dataset, _ids(rows), _ids(intended), listed=True)


def _places(test: Split, listed: StoredList) -> dict[StoredTarget, int]:
    """Return the place of each target of a list: by number in a whole test split, else by the row's values."""
    if len(test) == listed.rows and all(int(test.y[entry.row]) == entry.label for entry in listed.targets):
        # By number, because images in another compression have other values.
        return {entry: entry.row for entry in listed.targets}
    entries = {(entry.digest, entry.label): entry for entry in listed.targets}
    labels = {entry.label for entry in listed.targets}
    places: dict[StoredTarget, int] = {}
    for place, label in enumerate(test.y.tolist()):
        if label in labels:
            entry = entries.get((row_digest(test.x[place]), label))
            if entry is not None:
                places.setdefault(entry, place)
    return {entry: places[entry] for entry in listed.targets if entry in places}


def _drawn(dataset: Dataset, targets: Targets, listed: Tensor) -> Chosen:
    y = dataset.test.y
    rows = torch.arange(len(y)) if targets.pair is None else (y == targets.pair[0]).nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=_seeds.stream(0, "targets", dataset.name))]
    rows = rows[~torch.isin(rows, listed)]
    if targets.pair is not None:
        return _chosen(dataset, rows, torch.full_like(rows, targets.pair[1]), listed=False)
    return _chosen(dataset, rows, nearest_wrong_class(dataset, rows), listed=False)


def nearest_wrong_class(dataset: Dataset, rows: Tensor) -> Tensor:
    """Return ``(M,)`` int64: for each of these test rows the wrong class that is likeliest to logistic regression.

    Only classes that have test rows count, since poison is made from those.
    """
    recipe = Recipe("lr", Adam(0.01), batch_size=min(100, len(dataset.train)), epochs=10)
    [result] = train_victims(dataset, [Victim(recipe, 0)])
    assert result.best is not None
    model = TrainedModel(recipe, result.best).module(dataset.input_shape, dataset.num_classes)
    with torch.no_grad():
        logits: Tensor = model(dataset.test.x[rows])
    logits[:, dataset.test.y.bincount(minlength=dataset.num_classes) == 0] = -torch.inf
    logits[torch.arange(len(rows)), dataset.test.y[rows]] = -torch.inf
    return logits.argmax(1)


def _chosen(dataset: Dataset, rows: Tensor, intended: Tensor, *, listed: bool) -> Chosen:
    return Chosen(rows, dataset.test.x[rows], dataset.test.y[rows], intended, torch.full(rows.shape, listed))


def _ids(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
