"""What every attack is: a frozen dataclass whose call crafts poison and checks it against the budget."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gradshape import _digest, _seeds
from gradshape.attacks.threat import ThreatModel
from gradshape.data import Dataset, Split
from gradshape.training import Recipe, State


@dataclass(frozen=True, eq=False)
class PoisonSet:
    """Crafted rows.

    Attributes:
        x: ``(n, *shape)`` float32 in [0, 1].
        y: ``(n,)`` int64 labels that the rows are given.
        source: ``(n,)`` int64 ids of the train rows that they were made from, -1 where there is none.
        replaced: ``(m,)`` int64 ids of train rows that they take the place of; empty if they are added.
    """

    x: Tensor
    y: Tensor
    source: Tensor
    replaced: Tensor

    @classmethod
    def empty(cls, dataset: Dataset) -> "PoisonSet":
        """No poison for ``dataset``."""
        none = torch.empty(0, dtype=torch.int64)
        return cls(torch.empty(0, *dataset.input_shape), none, none, none)

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def rows(self) -> Split:
        """The rows as a split to train on."""
        return Split(self.x, self.y)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over all four arrays."""
        return _digest.of(self.x, self.y, self.source, self.replaced)


class VictimView:
    """The view of the victim that an attack crafts with: what its threat model does not grant raises.

    Attributes:
        input_shape, num_classes: always known.
    """

    def __init__(
        self, threat: ThreatModel, dataset: Dataset, recipe: Recipe | None = None, parameters: State | None = None
    ) -> None:
        self.input_shape = dataset.input_shape
        self.num_classes = dataset.num_classes
        self._threat = threat
        self._train = dataset.train
        self._recipe = recipe
        self._parameters = parameters

    @property
    def train(self) -> Split:
        """The clean training rows."""
        if not self._threat.training_data.granted:
            raise PermissionError("the attack's threat model grants no knowledge of the training data")
        return self._train

    @property
    def recipe(self) -> Recipe:
        """How the victim is trained."""
        if not self._threat.algorithm.granted:
            raise PermissionError("the attack's threat model grants no knowledge of the learning algorithm")
        if self._recipe is None:
            raise ValueError("no recipe was given to the attack: pass recipe=...")
        return self._recipe

    @property
    def parameters(self) -> State:
        """The victim's trained parameters."""
        if not self._threat.parameters.granted:
            raise PermissionError("the attack's threat model grants no knowledge of the model's parameters")
        if self._parameters is None:
            raise ValueError("no parameters were given to the attack: pass parameters=...")
        return self._parameters


class Attack(ABC):
    """Base of all attacks. Authors write :meth:`budget` and :meth:`craft` in a frozen dataclass of plain values.

    Calling an attack is final: it gives ``craft`` what the threat model grants, and checks what comes back.
    """

    threat: ClassVar[ThreatModel]

    @property
    @abstractmethod
    def label(self) -> str:
        """Name for ids: the attack and its intensity, of letters, digits, ``.``, ``-`` and ``_``."""

    @property
    def family(self) -> str:
        """The label without the intensity; attacks of one family differ in intensity only."""
        return self.label.rpartition("_")[0] or self.label

    @abstractmethod
    def budget(self, train_rows: int) -> int:
        """Exact number of poison rows for ``train_rows`` clean rows."""

    @abstractmethod
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        """``count`` (> 0) poison rows, all randomness from ``generator``."""

    @final
    def __call__(
        self, dataset: Dataset, *, seed: int, recipe: Recipe | None = None, parameters: State | None = None
    ) -> PoisonSet:
        """Craft poison for ``dataset``.

        Args:
            dataset: the clean data.
            seed: source of all randomness: the same seed gives the same poison.
            recipe, parameters: the victim's, for attacks that know them.

        Raises:
            ValueError: the attack cannot be made on this data, or ``craft`` broke a rule (number of
                rows, shape, dtype, range, labels, ids); the message names the attack and the value.
        """
        count = self.budget(len(dataset.train))
        if count < 0:
            raise ValueError(f"{self.label}: budget {count}: expected at least 0")
        if count == 0:
            return PoisonSet.empty(dataset)
        view = VictimView(self.threat, dataset, recipe, parameters)
        poison = self.craft(view, count, generator=_seeds.stream(seed, "craft", self.label))
        self._check(poison, count, dataset)
        return poison

    def _check(self, poison: PoisonSet, count: int, dataset: Dataset) -> None:
        def require(holds: bool, what: str) -> None:
            if not holds:
                raise ValueError(f"{self.label} crafted {what}")

        train = len(dataset.train)
        require(len(poison.x) == len(poison.y) == len(poison.source) == count, f"{len(poison)} rows, budget {count}")
        require(
            tuple(poison.x.shape[1:]) == dataset.input_shape,
            f"rows of shape {tuple(poison.x.shape[1:])}, expected {dataset.input_shape}",
        )
        require(poison.x.dtype == torch.float32, f"x of {poison.x.dtype}, expected torch.float32")
        for name in ("y", "source", "replaced"):
            dtype = getattr(poison, name).dtype
            require(dtype == torch.int64, f"{name} of {dtype}, expected torch.int64")
        require(bool(poison.x.isfinite().all()), "values that are not finite")
        low, high = poison.x.aminmax()
        require(bool(low >= 0 and high <= 1), f"values in [{low:g}, {high:g}], expected [0, 1]")
        require(
            bool(poison.y.min() >= 0 and poison.y.max() < dataset.num_classes),
            f"labels in [{int(poison.y.min())}, {int(poison.y.max())}], expected [0, {dataset.num_classes})",
        )
        require(bool(poison.source.min() >= -1 and poison.source.max() < train), f"source ids outside [-1, {train})")
        replaced = poison.replaced
        if len(replaced):
            require(len(replaced) <= count, f"{count} rows that replace {len(replaced)}")
            require(
                bool(replaced.min() >= 0 and replaced.max() < train) and len(replaced.unique()) == len(replaced),
                f"replaced ids that are not distinct ids in [0, {train})",
            )
