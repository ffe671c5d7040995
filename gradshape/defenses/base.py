"""The base of all defences: a change of the recipe, a filter of the training rows, or both."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor

from gradshape._declared import check_declares
from gradshape._threads import one_thread
from gradshape.data import Dataset, Split, Units, own_copy
from gradshape.training import AnyRecipe, TrainedModel


class DefenseKind(Enum):
    """The mechanisms of the paper's Table 2."""

    NONE = "none"
    OUTLIER_REMOVAL = "outlier removal"
    CONTROL = "control"
    DP_OPTIMIZER = "DP optimizer"


@dataclass(frozen=True)
class Assumptions:
    """One row of Table 2 of Hong et al. 2020: the mechanism of a defence, and what it has to know.

    Attributes:
        kind: mechanism.
        indiscriminate, targeted: attacks that it was made for.
        knows_training_data, knows_model, knows_targets: whether it has to know the rows that will be trained on (every
            filter does), how the victim is trained, and the attacker's targets.
        overhead: whether it costs more than plain training.
        source: where it is published.
        knows_budget: whether it is told how many rows were added.
        knows_clean: whether it is given the rows before the attack, to trust or to take statistics from.
        knows_poison: whether it is told which rows are poison; only a control is, which bounds all defences.
    """

    _: KW_ONLY
    kind: DefenseKind
    indiscriminate: bool
    targeted: bool
    knows_training_data: bool
    knows_model: bool
    knows_targets: bool
    overhead: bool
    source: str
    knows_budget: bool = False
    knows_clean: bool = False
    knows_poison: bool = False


# Presets: a defence says with ``dataclasses.replace`` where it is published and what is different for it.

# A filter of training rows that was made for indiscriminate attacks.
FILTER = Assumptions(
    kind=DefenseKind.OUTLIER_REMOVAL,
    indiscriminate=True,
    targeted=False,
    knows_training_data=True,
    knows_model=False,
    knows_targets=False,
    overhead=True,
    source="-",
)
# No defence, but a filter that others are compared with.
CONTROL = replace(FILTER, kind=DefenseKind.CONTROL, targeted=True, overhead=False)


class Suspect(Split):
    """The training rows as a defence sees them: clean rows and poison, mixed.

    It is a :class:`~gradshape.data.Split` of copies. It does not hold what the defence's assumptions do not grant, and
    asking for that raises ``PermissionError``.

    Attributes:
        num_classes: number of classes; 0 for regression.
        units: those of the rows; ``None`` if they are in [0, 1] for their owner, too.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        num_classes: int,
        assumptions: Assumptions,
        recipe: AnyRecipe | None = None,
        clean: Split | None = None,
        targets: Split | None = None,
        budget: int | None = None,
        poison: Tensor | None = None,
        model: TrainedModel | None = None,
        units: Units | None = None,
    ) -> None:
        super().__init__(x, y)
        granted = {
            "recipe": recipe if assumptions.knows_model else None,
            "model": model if assumptions.knows_model else None,
            "clean": clean if assumptions.knows_clean else None,
            "targets": targets if assumptions.knows_targets else None,
            "budget": budget if assumptions.knows_budget else None,
            "poison": poison if assumptions.knows_poison else None,
        }
        object.__setattr__(self, "num_classes", num_classes)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "_granted", {name: value for name, value in granted.items() if value is not None})
        object.__setattr__(self, "_assumed", assumptions)

    @classmethod
    def unknown(cls, rows: Split, assumptions: Assumptions) -> "Suspect":
        """Return rows of which nothing else is known."""
        regression = rows.y.is_floating_point()
        return cls(
            rows.x,
            rows.y,
            num_classes=0 if regression or not len(rows) else int(rows.y.max()) + 1,
            assumptions=assumptions,
        )

    num_classes: int
    units: Units | None
    _granted: dict[str, Any]
    _assumed: Assumptions

    @property
    def recipe(self) -> AnyRecipe:
        """The recipe that the rows will be trained by; needs ``knows_model``."""
        return cast("AnyRecipe", self._grant("recipe", self._assumed.knows_model))

    @property
    def model(self) -> TrainedModel | None:
        """The base model that the training on the rows starts from; needs ``knows_model``.

        ``None`` if the victim is trained from scratch.
        """
        self._check_assumed("model", self._assumed.knows_model)
        return self._granted.get("model")

    @property
    def clean(self) -> Split:
        """The rows before the attack, to take trusted rows or statistics from; needs ``knows_clean``."""
        return cast("Split", self._grant("clean", self._assumed.knows_clean))

    @property
    def targets(self) -> Split:
        """The test rows that the attacker wants misclassified, with their true labels; needs ``knows_targets``."""
        return cast("Split", self._grant("targets", self._assumed.knows_targets))

    @property
    def budget(self) -> int:
        """Number of poison rows among these; needs ``knows_budget``."""
        return cast("int", self._grant("budget", self._assumed.knows_budget))

    @property
    def poison(self) -> Tensor:
        """``(N,)`` bool, which rows are poison; needs ``knows_poison``: for controls only."""
        return cast("Tensor", self._grant("poison", self._assumed.knows_poison))

    def _check_assumed(self, name: str, assumed: bool) -> None:
        if not assumed:
            raise PermissionError(f"the defence's assumptions grant no knowledge of {name}")

    def _grant(self, name: str, assumed: bool) -> Any:
        self._check_assumed(name, assumed)
        if name not in self._granted:
            raise ValueError(f"no {name} was given to the defence: pass {name}=...")
        return self._granted[name]


class Defense(ABC):
    """Base of all defences: frozen dataclasses of plain values.

    A defence never sees which rows are poison: :meth:`filter` gets the mixed rows, what its assumptions grant, and
    nothing else.
    """

    assumptions: ClassVar[Assumptions]
    # Whether it solves many small problems, which are done sooner by one thread than by several.
    small_problems: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        check_declares(
            cls,
            "assumptions",
            Assumptions,
            what="defence",
            presets="its Assumptions: FILTER or CONTROL of gradshape.defenses, those of another defence such as "
            "GradientShaping.assumptions, or what dataclasses.replace makes of one",
        )

    @abstractmethod
    def label_for(self, recipe: AnyRecipe) -> str:
        """Return the name for ids when it defends ``recipe``: letters, digits, ``.``, ``-`` and ``_``."""

    def shape(self, recipe: AnyRecipe) -> AnyRecipe:
        """Return the recipe to train with instead of ``recipe``; the same unless overridden."""
        return recipe

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        """Return a ``(N,)`` bool mask of the rows to train on, or ``None`` to keep all (the default)."""
        return None

    def trusted(self, clean: Split, *, generator: torch.Generator) -> Tensor | None:
        """Return a ``(N,)`` bool mask of the clean rows that it trusts; ``None`` if it is given none.

        By default all, if its assumptions grant them. A defence that uses few of them says which: then they alone are
        what it is compared with. It must draw them from ``generator`` as :meth:`keep` does.
        """
        return torch.ones(len(clean), dtype=torch.bool) if self.assumptions.knows_clean else None

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        """Return why it cannot defend ``recipe`` whatever the data; ``None`` (the default) if it depends on the data.

        Args:
            recipe: the undefended recipe.
            num_classes: of the task; 0 for regression, and ``None`` where only the data will tell.
        """
        return None

    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        """Return why it cannot defend ``recipe`` on this data, or ``None``. By default :meth:`refuses` decides."""
        return self.refuses(recipe, num_classes=dataset.num_classes)

    @property
    def filters(self) -> bool:
        """Whether it leaves out training rows."""
        return type(self).keep is not Defense.keep

    @final
    def filter(self, train: Split, *, generator: torch.Generator) -> Tensor | None:
        """Call :meth:`keep`, then copy and check its mask. A plain split is rows of which nothing else is known.

        Raises:
            ValueError: the mask has another shape or dtype, or removes every row or all rows of a class.
        """
        suspect = train if isinstance(train, Suspect) else Suspect.unknown(train, self.assumptions)
        with one_thread() if self.small_problems else nullcontext():
            mask = own_copy(self.keep(suspect, generator=generator))
        if mask is None:
            return None
        if mask.dtype != torch.bool or mask.shape != (len(train),):
            raise ValueError(
                f"{self!r} returned a mask {mask.dtype} {tuple(mask.shape)}: expected bool ({len(train)},)"
            )
        if not mask.any():
            raise ValueError(f"{self!r} removes all {len(train)} training rows: expected it to keep at least 1")
        if suspect.num_classes:
            gone = set(train.y.unique().tolist()) - set(train.y[mask].unique().tolist())
            if gone:
                raise ValueError(
                    f"{self!r} removes all rows of class {min(gone)}: expected it to keep at least 1 row of every class"
                )
        return mask
