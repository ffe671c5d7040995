"""What every attack is: a frozen dataclass whose call crafts poison and checks it against the budget."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from gradshape import _seeds, _validate
from gradshape._declared import check_declares, check_property
from gradshape._own_thread import OwnThread
from gradshape._threads import one_thread
from gradshape.attacks._returned import check_arrays, plain_notes
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import Goal, ThreatModel
from gradshape.data import Dataset, GuardedCopies, Split, own_copy
from gradshape.training import AnyRecipe, State, TrainedModel
from gradshape.unsuitable import Unsuitable


@dataclass(frozen=True)
class Crafting:
    """The progress of an attack.

    Attributes:
        step, steps: steps done, and steps at most.
        objective: what the attack maximises, at its value so far.
    """

    step: int
    steps: int
    objective: float


class VictimView:
    """What an attack sees of its victim while it crafts; asking for what its threat model does not grant raises.

    It holds copies of what is granted, and nothing else.

    Args:
        threat: of the attack.
        dataset, recipe, parameters, target, device, intended, networks: as for :meth:`Attack.__call__`.
        progress: told how far the attack is.
        copies: makes the copies, and knows afterwards whether they were written to.

    Attributes:
        input_shape, num_classes, regression: always known.
        device: where all tensors of the view are, and where crafting is to compute.
    """

    def __init__(
        self,
        threat: ThreatModel,
        dataset: Dataset,
        *,
        recipe: AnyRecipe | None = None,
        parameters: State | None = None,
        progress: Callable[[Crafting], None] | None = None,
        target: Split | None = None,
        device: torch.device | str = "cpu",
        intended: Tensor | None = None,
        networks: Sequence[TrainedModel] = (),
        copies: GuardedCopies | None = None,
    ) -> None:
        copies = copies or GuardedCopies()
        self.device = torch.device(device)
        self.input_shape = dataset.input_shape
        self.num_classes = dataset.num_classes
        self.regression = dataset.regression
        self._threat = threat
        self._progress = progress

        def rows(name: str, split: Split) -> Split:
            return copies.copy_of_rows(name, split, device=self.device)

        self._train = rows("train", dataset.train) if threat.training_data.granted else None
        self._candidates = rows("candidates", dataset.test) if threat.goal is Goal.TARGETED else None
        self._recipe = recipe if threat.algorithm.granted else None
        self._parameters: State | None = None
        if parameters is not None and threat.parameters.granted:
            self._parameters = copies.copy_of_state("parameters", parameters, device=self.device)
        self._target = None if target is None else rows("target", target)
        self._intended = None if intended is None else copies.copy_of("intended", intended, device=self.device)
        self._networks = [
            replace(network, state=copies.copy_of_state(f"networks[{place}]", network.state))
            for place, network in enumerate(networks)
        ]

    @property
    def train(self) -> Split:
        """The clean training rows."""
        if self._train is None:
            raise PermissionError("the attack's threat model grants no knowledge of the training data")
        return self._train

    @property
    def recipe(self) -> AnyRecipe:
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

    @property
    def target(self) -> Split:
        """The test rows that a targeted attack wants misclassified, with their true labels."""
        if self._target is None:
            raise Unsuitable("no target was given to the attack: pass target=...")
        return self._target

    @property
    def intended(self) -> Tensor:
        """``(T,)`` int64, the class that each target is to be taken for."""
        if self._intended is None:
            raise Unsuitable("no intended classes were given to the attack: pass intended=...")
        return self._intended

    @property
    def candidates(self) -> Split:
        """Test rows, which a targeted attacker may make poison from: Hong et al. 2020, section 6.3."""
        if self._candidates is None:
            raise PermissionError("the attack's threat model is of an indiscriminate attack, which sees no test rows")
        return self._candidates

    @cached_property
    def networks(self) -> list[nn.Module]:
        """The networks that poison is crafted on, in evaluation mode: the victim's base model, or substitutes."""
        if not self._networks:
            raise Unsuitable("no networks were given to the attack: pass networks=[TrainedModel(...)]")
        return [one.module(self.input_shape, self.num_classes, device=self.device) for one in self._networks]

    def report(self, step: int, steps: int, objective: float) -> None:
        """Report that ``step`` of at most ``steps`` steps are done; this raises if the run is interrupted."""
        if self._progress is not None:
            self._progress(Crafting(step, steps, objective))


class Attack(ABC):
    """Base of all attacks. Authors write :meth:`budget` and :meth:`craft` in a frozen dataclass of plain values.

    Calling an attack is final: it gives ``craft`` copies of what the threat model grants, and checks what comes back.
    """

    threat: ClassVar[ThreatModel]
    # Whether poison is crafted anew for every recipe; if not, one poison set serves all victims of a data set.
    adaptive: ClassVar[bool] = True
    # Whether it solves many small problems, which are done sooner by one thread than by several.
    small_problems: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        check_declares(
            cls,
            "threat",
            ThreatModel,
            what="attack",
            presets="a ThreatModel: WHITE_BOX, BLACK_BOX, ON_REGRESSION, ON_TARGETS or ON_SVM of gradshape.attacks, "
            "or what dataclasses.replace makes of one",
        )
        check_property(cls, "label", what="attack")

    @property
    @abstractmethod
    def label(self) -> str:
        """Name for ids: the attack and its intensity, of letters, digits, ``.``, ``-`` and ``_``."""

    @property
    def family(self) -> str:
        """The label without the intensity; attacks of one family differ in intensity only."""
        return self.label.rpartition("_")[0] or self.label

    @property
    def stream(self) -> str:
        """Name of the stream that its randomness comes from: the label, so that no two intensities draw alike."""
        return self.label

    @property
    def control(self) -> "Attack | None":
        """Random flips of the same budget under the same constraints, which it has to exceed; ``None`` if none."""
        return None

    @abstractmethod
    def budget(self, train_rows: int) -> int:
        """Return the exact number of poison rows for ``train_rows`` clean rows."""

    @abstractmethod
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        """Return ``count`` (> 0) poison rows, with all randomness from ``generator``.

        It runs in a thread of its own, see :meth:`__call__`, and must not write to what the view shows.
        The generator is the CPU's, so that a seed draws the same numbers everywhere: move what is drawn to
        ``victim.device``. The rows may be returned on that device or on the CPU.
        """

    def unsuitable(self, dataset: Dataset) -> str | None:
        """Return why it cannot be made on this data, or ``None``. By default the tasks of the threat model decide."""
        reason = self.threat.refuses(dataset.num_classes)
        if reason is None and not dataset.regression and len(dataset.train.y.unique()) == 1:
            return "all training rows are of one class"
        return reason

    @property
    def claimed_class(self) -> int | None:
        """The class that rows with the attack's trigger are to be taken for; ``None`` if it has no trigger."""
        return None

    def triggered(self, rows: Split) -> Split | None:
        """Return ``rows`` with the attack's trigger and their true labels, without those of the claimed class.

        ``None`` if it has no trigger.
        """
        return None

    @final
    def __call__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        recipe: AnyRecipe | None = None,
        parameters: State | None = None,
        target: Split | None = None,
        progress: Callable[[Crafting], None] | None = None,
        device: torch.device | str = "cpu",
        intended: Tensor | None = None,
        networks: Sequence[TrainedModel] = (),
    ) -> PoisonSet:
        """Craft poison for ``dataset``.

        ``craft`` runs in a thread of its own, where nothing is within reach but copies of what the threat model grants.
        What it returns is copied, and what it changes of the state of the process (torch's default dtype, random
        generators and the like) is put back. So it can change no other result.

        Args:
            dataset: the clean data.
            seed: source of all randomness: the same seed gives the same poison.
            recipe, parameters: the victim's, for attacks that know them.
            target: test rows to be misclassified, for targeted attacks.
            progress: called as the attack proceeds.
            device: where it computes. The poison is on the CPU, and the same up to rounding wherever it is crafted.
            intended: ``(T,)`` int64 classes that the ``T`` targets are to be taken for, for targeted attacks that craft
                for them.
            networks: what such attacks craft on: the victim's base model, or substitutes for it.

        Raises:
            Unsuitable: the attack cannot be made on this data, or needs targets or networks that were not given.
            ValueError: ``craft`` broke a rule (number of rows, shape, dtype, range, labels, ids) or wrote to what
                it was shown; the message names the attack and the value.
        """
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"{self.label}: dataset is a {type(dataset).__name__}: expected a Dataset, which data.from_rows makes"
            )
        count = self.budget(len(dataset.train))
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"{self.label}: budget {count!r}: expected a whole number of rows, at least 0")
        if count == 0:
            return PoisonSet.empty(dataset)
        reason = self.unsuitable(dataset.copy())
        if reason is not None:
            raise Unsuitable(f"{self.label} cannot be made on {dataset.name}: {reason}")
        self._check_call(dataset, target, intended, networks)
        thread, copies = OwnThread[Crafting](), GuardedCopies()
        view = VictimView(
            self.threat,
            dataset,
            recipe=recipe,
            parameters=parameters,
            progress=thread.tell,
            target=target,
            device=device,
            intended=intended,
            networks=networks,
            copies=copies,
        )
        generator = _seeds.stream(seed, "craft", self.stream)

        def craft() -> PoisonSet:
            with one_thread() if self.small_problems else nullcontext():
                return self.craft(view, count, generator=generator)

        poison = own_copy(thread.run(craft, hear=progress))
        copies.check(f"attack {self.label}")
        check_arrays(self.label, poison, PoisonSet)
        poison = replace(poison, notes=plain_notes(self.label, poison.notes))
        self._check_count(poison, count)
        self._check_aims(poison, count, dataset, target)
        if len(poison):
            self._check(poison, len(poison), dataset)
        return poison

    def _check_call(  # noqa: B027
        self, dataset: Dataset, target: Split | None, intended: Tensor | None, networks: Sequence[TrainedModel]
    ) -> None:
        """Raise ``ValueError`` if what a call was given does not fit this kind of attack."""

    def _check_aims(  # noqa: B027
        self, poison: PoisonSet, count: int, dataset: Dataset, target: Split | None
    ) -> None:
        """Raise ``ValueError`` if ``craft`` does not say, as this kind of attack has to, what its rows are for."""

    def _check_count(self, poison: PoisonSet, count: int) -> None:
        """Raise ``ValueError`` if ``craft`` made another number of rows than the budget."""
        if not len(poison.x) == len(poison.y) == len(poison.source) == count:
            raise ValueError(f"{self.label} crafted {len(poison)} rows, budget {count}")

    def _check(self, poison: PoisonSet, count: int, dataset: Dataset) -> None:
        def require(holds: bool, what: str) -> None:
            if not holds:
                raise ValueError(f"{self.label} crafted {what}")

        train = len(dataset.train)
        require(
            tuple(poison.x.shape[1:]) == dataset.input_shape,
            f"rows of shape {tuple(poison.x.shape[1:])}, expected {dataset.input_shape}",
        )
        require(poison.x.dtype == torch.float32, f"x of {poison.x.dtype}, expected torch.float32")
        label_dtype = torch.float32 if dataset.regression else torch.int64
        for name, expected in (("y", label_dtype), ("source", torch.int64), ("replaced", torch.int64)):
            dtype = getattr(poison, name).dtype
            require(dtype == expected, f"{name} of {dtype}, expected {expected}")
        require(bool(poison.x.isfinite().all()), "values that are not finite")
        low, high = poison.x.aminmax()
        require(bool(low >= 0 and high <= 1), f"values in [{low:g}, {high:g}], expected [0, 1]")
        require(bool(poison.y.isfinite().all()), "labels that are not finite")
        least, most = poison.y.min().item(), poison.y.max().item()
        end, inside = (
            ("1]", most <= 1) if dataset.regression else (f"{dataset.num_classes})", most < dataset.num_classes)
        )
        require(least >= 0 and inside, f"labels in [{least:g}, {most:g}], expected [0, {end}")
        require(bool(poison.source.min() >= -1 and poison.source.max() < train), f"source ids outside [-1, {train})")
        replaced = poison.replaced
        if len(replaced):
            require(len(replaced) <= count, f"{count} rows that replace {len(replaced)}")
            require(
                bool(replaced.min() >= 0 and replaced.max() < train) and len(replaced.unique()) == len(replaced),
                f"replaced ids that are not distinct ids in [0, {train})",
            )


@dataclass(frozen=True)
class ProportionalAttack(Attack):
    """Base of the attacks whose budget is a share of the clean rows.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]; the budget is rounded, halves to even.

    Hong et al. 2020, section 6.2, count like this.
    """

    fraction: float

    @final
    def budget(self, train_rows: int) -> int:
        _validate.fraction(fraction=self.fraction)
        return round(self.fraction * train_rows)
