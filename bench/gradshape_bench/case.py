"""What is benchmarked: a task, an attack on it, a defence, and what has to hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradshape import _digest, _validate
from gradshape.attacks import Attack
from gradshape.data import Dataset, load, remember
from gradshape.defenses import Defense
from gradshape.training import AnyRecipe, Recipe
from gradshape_bench.protocols import FromScratch, Protocol
from gradshape_bench.verdict import Threshold

# The default of the largest loss on clean data with which a model still works.
UTILITY = 0.1


class Scale(Enum):
    """How large a case is run."""

    SMOKE = "smoke"
    PAPER = "paper"

    @classmethod
    def parse(cls, name: str) -> "Scale":
        """Return the scale of that name.

        Raises:
            ValueError: there is none; near matches are listed.
        """
        for scale in cls:
            if scale.value == name:
                return scale
        raise _validate.unknown("scale", name, [scale.value for scale in cls])


@dataclass(frozen=True)
class Smoke:
    """What the smoke scale shrinks of a task: rows and epochs, never the code path.

    Args:
        train_rows, test_rows: at most so many, balanced by class; ``None`` for all.
        epochs: instead of the recipe's; ``None`` for the same.
    """

    train_rows: int | None = None
    test_rows: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Task:
    """What is learned, and how, when nobody defends it.

    Args:
        dataset: a name for :func:`gradshape.data.load`; or a data set, or a function that returns one, which
            :func:`gradshape.data.remember` gives its name: then this is that name.
        recipe: the vanilla training procedure at the paper's size.
        smoke: how the smoke scale shrinks it.
        variant: added to the model's name in ids, to tell two recipes for one model and data set apart.
        surrogate: the recipe that attackers are told in the place of ``recipe``, which they cannot see into: attacks
            that need the victim's gradients train this one. The record says so.
    """

    dataset: str
    recipe: AnyRecipe
    smoke: Smoke = Smoke()
    _: KW_ONLY
    variant: str = ""
    surrogate: AnyRecipe | None = None

    if TYPE_CHECKING:
        # What may be given for a field, and becomes what the field holds.
        def __init__(
            self,
            dataset: str | Dataset | Callable[[], Dataset],
            recipe: AnyRecipe,
            smoke: Smoke = ...,
            *,
            variant: str = ...,
            surrogate: AnyRecipe | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str):
            object.__setattr__(self, "dataset", remember(self.dataset))

    @property
    def model(self) -> str:
        """The model's label in ids."""
        return f"{self.recipe.model}_{self.variant}" if self.variant else self.recipe.model

    def at(self, scale: Scale) -> "Rows":
        """Return the rows that the task is run on at ``scale``."""
        if scale is Scale.PAPER:
            return Rows(self.dataset, None, None)
        return Rows(self.dataset, self.smoke.train_rows, self.smoke.test_rows)

    def recipe_at(self, scale: Scale) -> AnyRecipe:
        """Return the vanilla recipe at ``scale``."""
        return self._at(self.recipe, scale)

    def surrogate_at(self, scale: Scale) -> AnyRecipe | None:
        """Return what attackers are told in the place of the recipe at ``scale``; ``None`` if they are told it."""
        return None if self.surrogate is None else self._at(self.surrogate, scale)

    def _at(self, recipe: AnyRecipe, scale: Scale) -> AnyRecipe:
        epochs = self.smoke.epochs if scale is Scale.SMOKE else None
        return replace(recipe, epochs=epochs) if epochs is not None and isinstance(recipe, Recipe) else recipe


@dataclass(frozen=True)
class Rows:
    """A data set or part of one, by name."""

    dataset: str
    train: int | None
    test: int | None

    def load(self, *, download: bool) -> Dataset:
        """Load the rows; raises as :func:`gradshape.data.load`."""
        return load(self.dataset, download=download).subset(train=self.train, test=self.test)


@dataclass(frozen=True)
class ExpectedFailure:
    """A threshold that is known to be missed.

    Args:
        reason: why.
        source: where that is published or measured.
    """

    reason: str
    source: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.source})"


@dataclass(frozen=True, eq=False)
class Case:
    """One benchmark case. Two are equal if they have one id and one definition.

    Their parts say nothing of that: parts may be equal that do different things, if a field has ``compare=False``.

    Args:
        task: what is learned.
        attack, defense: what is set against what.
        scale: the size that it is run at.
        seeds: one repetition each.
        thresholds: the bounds that its metrics have to keep.
        utility: the largest loss on clean data with which a model still works: of ``utility_loss``, or of what
            ``mse_ratio_utility`` exceeds 1 by. Beyond it no bound on robustness is met. ``None`` for no bound.
        protocol: the experiment.
        expected_failure: why a threshold is expected to be missed.
    """

    task: Task
    attack: Attack
    defense: Defense
    _: KW_ONLY
    scale: Scale
    seeds: tuple[int, ...]
    thresholds: tuple[Threshold, ...] = ()
    utility: float | None = UTILITY
    protocol: Protocol = field(default=FromScratch())
    expected_failure: ExpectedFailure | None = None

    def __post_init__(self) -> None:
        if self.utility is not None:
            _validate.finite_non_negative(utility=self.utility)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def _identity(self) -> tuple[str, str]:
        return self.id, self.fingerprint

    @cached_property
    def id(self) -> str:
        """A readable and stable name, unique within a scale."""
        parts = [self.task.dataset.replace("/", "_"), self.task.model, self.attack.label, self.defense_label]
        if self.protocol != FromScratch():
            parts.append(self.protocol.label)
        return "-".join(parts)

    @cached_property
    def defense_label(self) -> str:
        """The defence's label in ids, which may say what it does to the recipe."""
        return self.defense.label_for(self.vanilla)

    @property
    def rows(self) -> Rows:
        return self.task.at(self.scale)

    @property
    def vanilla(self) -> AnyRecipe:
        """The undefended recipe at the case's scale."""
        return self.task.recipe_at(self.scale)

    @property
    def surrogate(self) -> AnyRecipe | None:
        """What attackers are told in the place of the recipe, at the case's scale; ``None`` if they are told it."""
        return self.task.surrogate_at(self.scale)

    @cached_property
    def recipe(self) -> AnyRecipe:
        """The defended recipe at the case's scale."""
        return self.defense.shape(self.vanilla)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the definition."""
        return _digest.name(tuple(_part_name(getattr(self, part.name)) for part in fields(self)))

    @cached_property
    def challenge(self) -> str:
        """sha256 (hex) of what the recipe is put up against: rows, attack, protocol and scale.

        What somebody changes to train better, recipe and defence, is not part of it, nor are seeds and bounds.
        """
        return _digest.name((self.rows, self.attack, self.protocol, self.scale))

    @property
    def labels(self) -> Mapping[str, Any]:
        """The names of its parts, as markers and records have them."""
        return {
            "dataset": self.task.dataset,
            "model": self.task.model,
            "protocol": self.protocol.label,
            "attack": self.attack.label,
            "defense": self.defense_label,
        }


def by_id(cases: Iterable[Case]) -> Mapping[tuple[str, str], Case]:
    """Return the cases by scale and id.

    Raises:
        ValueError: two different cases have one id; the message says in which parts they differ.
    """
    found: dict[tuple[str, str], Case] = {}
    for case in cases:
        other = found.setdefault((case.scale.value, case.id), case)
        if other != case:
            raise ValueError(
                f"two different cases are called {case.id!r}: give one of their tasks a variant, or attack, defence or "
                f"protocol another label: {'; '.join(_differences(other, case))}"
            )
    return found


def _differences(one: Case, other: Case) -> list[str]:
    pairs = [(field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(Case)]
    return [f"{part}={a!r} and {part}={b!r}" for part, a, b in pairs if not same_part(a, b)]


def same_part(one: object, other: object) -> bool:
    """Say whether two parts of cases are defined alike, whatever they compare by."""
    return one is other or _part_name(one) == _part_name(other)


# Parts that have a name already, by identity; each is held, so that nothing else is given its identity.
_Names = dict[int, tuple[object, str]]
_named: ContextVar[_Names | None] = ContextVar("named", default=None)


@contextmanager
def naming_parts_once() -> Iterator[None]:
    """Name each part of cases once while the block runs, in which none may change: thousands of cases share a few."""
    if _named.get() is not None:
        yield
        return
    token = _named.set({})
    try:
        yield
    finally:
        _named.reset(token)


def _part_name(part: object) -> str:
    named = _named.get()
    if named is None:
        return _digest.name(part)
    known = named.get(id(part))
    if known is None:
        known = named[id(part)] = part, _digest.name(part)
    return known[1]
