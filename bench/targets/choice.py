"""Choosing the targets of an experiment among the rows that a list names, or where there is no list, by seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.targets.stored import StoredList, StoredTarget, row_digest, stored
from gradshape import _seeds, _validate
from gradshape.data import Dataset, Split
from gradshape.training import Adam, Recipe, TrainedModel, Victim, train_victims


@dataclass(frozen=True)
class Targets:
    """How many test rows are attacked, and as what.

    Args:
        count: at most so many; fewer where the base model misclassifies too many of the rows that are considered, which
            are half as many again and ten more, or where there are no more rows.
        pair: class of the targets and class that they are to be taken for. ``None``: targets of any class, each of
            which is to be taken for the wrong class that is likeliest to logistic regression.

    Raises:
        ValueError: ``count`` is not positive, or ``pair`` is not two different class ids.

    Hong et al. 2020, section 6.3, have 100 targets of one class and one wanted class.

    >>> Targets(100, (3, 4)).label, Targets(20).label
    ('3to4', '')
    """

    count: int
    pair: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _validate.positive_int(count=self.count)
        if self.pair is not None and not _are_two_classes(self.pair):
            raise ValueError(f"pair={self.pair!r}: expected two different class ids")

    @property
    def label(self) -> str:
        """For ids: the two classes, or nothing."""
        return "" if self.pair is None else f"{self.pair[0]}to{self.pair[1]}"


def _are_two_classes(pair: tuple[object, ...]) -> bool:
    ids = [label for label in pair if isinstance(label, int) and not isinstance(label, bool) and label >= 0]
    return len(pair) == len(set(ids)) == 2


class TooFewTargets(ValueError):
    """There is nothing to attack."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Test rows that may become targets, in the order in which they are taken.

    Attributes:
        rows: ``(M,)`` int64 places in the test split.
        x, y: of these rows.
        wanted: ``(M,)`` int64 classes that they are to be taken for.
        listed: whether they are from a stored list.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    wanted: Tensor
    listed: bool

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Tensor) -> "Chosen":
        return Chosen(self.rows[places], self.x[places], self.y[places], self.wanted[places], self.listed)

    @property
    def split(self) -> Split:
        """The rows with their true labels."""
        return Split(self.x, self.y)


def choose(dataset: Dataset, targets: Targets) -> Chosen:
    """The rows that may become targets: more than are asked for, as a base model may misclassify some.

    From the list that is stored for the data set, as far as its rows are in this test split; else drawn by a fixed seed
    among the rows of the class (of all classes), with the wrong class that is likeliest to logistic regression.

    Raises:
        ValueError: regression, or a class that the data set does not have.
        TooFewTargets: no test row can be a target.
    """
    check(dataset, targets.pair)
    # Half as many again and some: who classifies fewer than that correctly attacks fewer.
    most = targets.count + targets.count // 2 + 10
    found = _listed(dataset, targets, most) or _drawn(dataset, targets, most)
    if not len(found):
        raise TooFewTargets(f"{dataset.name}: no test row is of class {targets.pair and targets.pair[0]}: no target")
    return found


def check(dataset: Dataset, pair: tuple[int, int] | None) -> None:
    """Raise ``ValueError`` if nothing of this data set could be taken for another class, or not for the wanted one."""
    if dataset.regression:
        raise ValueError(f"{dataset.name}: a regression task has no classes to be taken for: expected classes")
    if pair is None:
        return
    if max(pair) >= dataset.num_classes:
        raise ValueError(f"pair={pair!r}: {dataset.name} has the classes 0 to {dataset.num_classes - 1}")


def _listed(dataset: Dataset, targets: Targets, most: int) -> Chosen | None:
    found = stored(dataset.name, targets.pair)
    if found is None:
        return None
    place_of = _places(dataset.test, found)
    here = [entry for entry in found.targets if entry in place_of][:most]
    if not here:
        return None
    rows = torch.tensor([place_of[entry] for entry in here])
    return _chosen(dataset, rows, torch.tensor([entry.wanted for entry in here]), listed=True)


def _places(test: Split, of: StoredList) -> dict[StoredTarget, int]:
    """Where the targets of a list are: by number in a whole test split, else by their values."""
    if len(test) == of.rows and all(int(test.y[entry.row]) == entry.label for entry in of.targets):
        # Whoever has the pictures in another compression attacks the same ones.
        return {entry: entry.row for entry in of.targets}
    entries, labels = {(entry.digest, entry.label): entry for entry in of.targets}, {e.label for e in of.targets}
    places: dict[StoredTarget, int] = {}
    for place, label in enumerate(test.y.tolist()):
        if label in labels:
            entry = entries.get((row_digest(test.x[place]), label))
            if entry is not None:
                places.setdefault(entry, place)
    return places


def _drawn(dataset: Dataset, targets: Targets, most: int) -> Chosen:
    y = dataset.test.y
    rows = torch.arange(len(y)) if targets.pair is None else (y == targets.pair[0]).nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=_seeds.stream(0, "targets", dataset.name))[:most]]
    if targets.pair is not None:
        return _chosen(dataset, rows, torch.full_like(rows, targets.pair[1]), listed=False)
    return _chosen(dataset, rows, nearest_wrong_class(dataset, rows), listed=False)


def nearest_wrong_class(dataset: Dataset, rows: Tensor) -> Tensor:
    """``(M,)`` int64: of test rows, by place, the wrong class that is likeliest to logistic regression.

    Only classes that have test rows to make poison from count.
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


def _chosen(dataset: Dataset, rows: Tensor, wanted: Tensor, *, listed: bool) -> Chosen:
    return Chosen(rows, dataset.test.x[rows], dataset.test.y[rows], wanted, listed)
