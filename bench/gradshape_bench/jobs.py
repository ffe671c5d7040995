"""Jobs: units of work whose results depend on nothing but what they hold, each named by a hash of that."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from gradshape import _digest
from gradshape.attacks import Attack, Crafting, PoisonSet
from gradshape.data import Dataset, PoisonedRows, Split
from gradshape.defenses import Defense, rows_to_keep
from gradshape.training import (
    AnyRecipe,
    GradientProbe,
    OptimizerState,
    Progress,
    Recipe,
    Scoring,
    State,
    TrainedModel,
    TrainingResult,
    Victim,
    stack_key,
    train_stacks,
)
from gradshape_bench.job_names import code_digest
from gradshape_bench.job_names.user_code import CodeName
from gradshape_bench.matmul_precision import tf32_settings

R = TypeVar("R", covariant=True)
# How far a stack is, or an attack, named by its label.
JobProgress = Progress | tuple[str, Crafting]
# Called at every step of a job; it may raise to end the job.
Heartbeat = Callable[[JobProgress], None]


@dataclass(frozen=True, eq=False)
class Job(ABC, Generic[R]):
    """A unit of work on one data set that gives an ``R``; equal content means equal :attr:`key`.

    Attributes:
        dataset: the data set that it works on.
        device: the device that it runs on; results on different kinds of device may differ by rounding.
        stackable: whether jobs of its type are done together, by :meth:`do_together`.
    """

    dataset: Dataset
    device: str

    stackable: ClassVar[bool] = False

    @property
    @abstractmethod
    def content(self) -> tuple[Any, ...]:
        """Everything but the data set and the device that the result depends on."""

    @cached_property
    def key(self) -> str:
        """sha256 (hex) of everything that the result depends on, the code included.

        Raises:
            TypeError: a value of its content cannot be named.
        """
        kind = torch.device(self.device).type
        # TF32 rounds differently, on GPUs only.
        rounding = tf32_settings() if kind == "cuda" else {}
        job = type(self)
        return _digest.name((job, self.dataset.fingerprint, self.content, self._code.name, kind, rounding))

    @property
    def repeatable(self) -> bool:
        """Whether its result may be kept for other sessions, in which the same job has the same key."""
        return code_digest.may_keep(self._code)

    @cached_property
    def _code(self) -> CodeName:
        return code_digest.code_of((type(self), self.content), self.dataset)

    @property
    def stack(self) -> Hashable:
        """Jobs with equal values are best done together."""
        return self.key

    @property
    def description(self) -> str:
        """What is done, in one phrase, without its data set."""
        return type(self).__name__

    @abstractmethod
    def do(self, heartbeat: Heartbeat) -> "Finished[R]":
        """Do the job by itself.

        Raises:
            Exception: whatever keeps the job from being done.
        """

    @classmethod
    def do_together(
        cls, jobs: Sequence[Self], *, max_memory: int, heartbeat: Heartbeat
    ) -> "Iterator[tuple[Self, Finished[R]]]":
        """Do jobs of one data set and device, and yield each as it ends.

        Args:
            jobs: of this type.
            max_memory: bytes that a stack may take, approximately.
            heartbeat: called at every step.

        Raises:
            Exception: whatever keeps one of those that are left from being done.
        """
        for job in jobs:
            yield job, job.do(heartbeat)


AnyJob = Job[Any]


@dataclass(frozen=True, eq=False)
class Finished(Generic[R]):
    """The result of a job, and the computing time that it took: its share of that of the stack it ran in, if any.

    Attributes:
        kept: whether it is in the cache, so that nobody needs to put it there.
    """

    result: R
    seconds: float
    kept: bool = False


@dataclass(frozen=True, eq=False)
class Craft(Job[PoisonSet]):
    """Craft a poison set.

    Attributes:
        attack: the attack that crafts it.
        recipe: recipe of the victim; ``None`` where the attack does not know it or does not adapt to it, so that all
            victims share the poison.
        seed: seed of the attack.
        target: test rows that a targeted attack aims at.
        intended: ``(T,)`` int64 classes that the attack intends these rows to be taken for.
        networks: trained networks that such an attack crafts its poison on.
    """

    attack: Attack
    _: KW_ONLY
    recipe: AnyRecipe | None
    seed: int
    target: Split | None = None
    intended: Tensor | None = None
    networks: tuple[TrainedModel, ...] = ()

    @classmethod
    def against(
        cls,
        dataset: Dataset,
        device: str,
        attack: Attack,
        *,
        recipe: AnyRecipe,
        seed: int,
        target: Split | None = None,
        intended: Tensor | None = None,
        networks: tuple[TrainedModel, ...] = (),
    ) -> "Craft":
        """Return the job of crafting ``attack`` against a victim trained by ``recipe``."""
        known = attack.adaptive and attack.threat.algorithm.granted
        return cls(
            dataset,
            device,
            attack,
            recipe=recipe if known else None,
            seed=seed,
            target=target,
            intended=intended,
            networks=networks,
        )

    @property
    def content(self) -> tuple[Any, ...]:
        target = None if self.target is None else self.target.fingerprint
        return self.attack, self.recipe, self.seed, target, self.intended, self.networks

    @property
    def description(self) -> str:
        return f"crafting {self.attack.label} (seed {self.seed})"

    def do(self, heartbeat: Heartbeat) -> Finished[PoisonSet]:
        """Craft the poison.

        Raises:
            ValueError: the attack cannot be made on this data, or breaks what it promises.
        """
        label, began = self.attack.label, time.perf_counter()
        poison = self.attack(
            self.dataset,
            seed=self.seed,
            recipe=self.recipe,
            target=self.target,
            intended=self.intended,
            networks=self.networks,
            progress=lambda crafting: heartbeat((label, crafting)),
            device=self.device,
        )
        return Finished(poison, time.perf_counter() - began)


@dataclass(frozen=True, eq=False)
class Filter(Job[Tensor]):
    """Ask a defence which rows to train on. The poison, if any, stands shuffled among the others.

    Attributes:
        defense: the defence that is asked.
        recipe: recipe of the training on the kept rows; ``None`` where the defence does not know it.
        poison: crafted rows; the rows that they replace are left out.
        seed: seed of the defence.
        targets: test rows that a targeted attack aims at; ``None`` where the defence does not know them.
        model: network that the training starts from; ``None`` where there is none or the defence does not know it.
    """

    defense: Defense
    _: KW_ONLY
    recipe: AnyRecipe | None
    poison: PoisonSet | None
    seed: int
    targets: Split | None = None
    model: TrainedModel | None = None

    @classmethod
    def by(
        cls,
        dataset: Dataset,
        device: str,
        defense: Defense,
        *,
        recipe: AnyRecipe,
        poison: PoisonSet | None,
        seed: int,
        targets: Split | None = None,
        model: TrainedModel | None = None,
    ) -> "Filter":
        """Return the job of asking ``defense`` before a training by ``recipe``."""
        knows = defense.assumptions
        return cls(
            dataset,
            device,
            defense,
            recipe=recipe if knows.knows_model else None,
            poison=poison if poison is not None and len(poison) else None,
            seed=seed,
            targets=targets if knows.knows_targets else None,
            model=model if knows.knows_model else None,
        )

    @property
    def content(self) -> tuple[Any, ...]:
        poison = None if self.poison is None else self.poison.fingerprint
        targets = None if self.targets is None else self.targets.fingerprint
        return self.defense, self.recipe, poison, self.seed, targets, self.model

    @property
    def description(self) -> str:
        return f"filtering by {type(self.defense).__name__} (seed {self.seed})"

    def do(self, heartbeat: Heartbeat) -> Finished[Tensor]:
        """Ask the defence; see :func:`gradshape.defenses.rows_to_keep`.

        Raises:
            ValueError: the defence gives no mask that can be used.
        """
        train = self.dataset.train
        keep, seconds = rows_to_keep(
            self.defense,
            PoisonedRows(train) if self.poison is None else self.poison.among(train),
            num_classes=self.dataset.num_classes,
            seed=self.seed,
            secret="" if self.poison is None else self.poison.fingerprint,
            recipe=self.recipe,
            model=self.model,
            targets=self.targets,
            units=self.dataset.units,
        )
        return Finished(keep, seconds)


@dataclass(frozen=True, eq=False)
class Train(Job[TrainingResult]):
    """Train one victim, on poison if there is any.

    Attributes:
        recipe: recipe to train by.
        seed: seed of the victim.
        poison: rows that are added; the rows that they replace are left out.
        keep: ``(N + n,)`` bool mask over train rows and then poison rows: which to train on; ``None`` for all.
        watch: rows to predict after every epoch.
        initial: parameters to start from; drawn from ``seed`` if ``None``.
        keep_states: whether the result holds parameters, for another training to start from.
        probe: what to measure of the gradients; ``None`` for nothing.
        intended, order_seed, initial_optimizer, keep_optimizer, scoring: as for :class:`gradshape.training.Victim`.
    """

    recipe: AnyRecipe
    _: KW_ONLY
    seed: int
    poison: PoisonSet | None = None
    keep: Tensor | None = None
    watch: Split | None = None
    initial: State | None = None
    keep_states: bool = False
    probe: GradientProbe | None = None
    intended: Tensor | None = None
    order_seed: int | None = None
    initial_optimizer: OptimizerState | None = None
    keep_optimizer: bool = False
    scoring: Scoring = Scoring.EVERY_EPOCH

    stackable: ClassVar[bool] = True

    @property
    def content(self) -> tuple[Any, ...]:
        # A poison set without rows is no poison: its training is the clean one.
        poison = None if self.poison is None or len(self.poison) == 0 else self.poison.fingerprint
        watch = None if self.watch is None else self.watch.fingerprint
        return (
            *(self.recipe, self.seed, poison, self.keep, watch, self.initial, self.keep_states, self.probe),
            *(self.intended, self.order_seed, self.initial_optimizer, self.keep_optimizer, self.scoring),
        )

    @property
    def description(self) -> str:
        shaper = self.recipe.shaper.label if isinstance(self.recipe, Recipe) else ""
        return f"training {self.recipe.model}{f' with {shaper}' if shaper else ''} (seed {self.seed})"

    @cached_property
    def victim(self) -> Victim:
        """The victim that the library trains for this job."""
        train, poison = self.dataset.train, self.poison
        rows = PoisonedRows(train) if poison is None or not len(poison) else poison.among(train)
        removed, private = rows.shared_and_private(self.keep)
        return Victim(
            self.recipe,
            self.seed,
            private,
            removed=removed,
            initial=self.initial,
            order_seed=self.order_seed,
            watch=None if self.watch is None else self.watch.x,
            intended=self.intended,
            probe=self.probe,
            initial_optimizer=self.initial_optimizer,
            keep_optimizer=self.keep_optimizer,
            scoring=self.scoring,
        )

    @cached_property
    def stack(self) -> Hashable:
        own = stack_key(self.dataset, self.victim, device=self.device)
        return self.key if own is None else (self.dataset.fingerprint, own, self.keep_states)

    def do(self, heartbeat: Heartbeat) -> Finished[TrainingResult]:
        """Train the victim in a stack of its own.

        Raises:
            Exception: whatever keeps it from being trained.
        """
        # A stack of one is made whatever memory it takes.
        [(_, finished)] = self.do_together([self], max_memory=1, heartbeat=heartbeat)
        return finished

    @classmethod
    def do_together(
        cls, jobs: Sequence[Self], *, max_memory: int, heartbeat: Heartbeat
    ) -> Iterator[tuple[Self, Finished[TrainingResult]]]:
        """Train the victims in stacks; see :meth:`Job.do_together`."""
        began = time.perf_counter()
        for members, results in train_stacks(
            jobs[0].dataset,
            [job.victim for job in jobs],
            device=jobs[0].device,
            max_memory=max_memory,
            keep_states=any(job.keep_states for job in jobs),
            progress=heartbeat,
        ):
            share = (time.perf_counter() - began) / len(members)
            for index, result in zip(members, results, strict=True):
                yield jobs[index], Finished(result, share)
            began = time.perf_counter()
