"""What an experiment works with: it makes groups of jobs, and gives back their results in the same groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar, overload
from typing import Protocol as Interface

from torch import Tensor

from gradshape import _global_state
from gradshape.attacks import Attack, PoisonSet
from gradshape.data import Dataset, Split
from gradshape.defenses import trusted_rows
from gradshape.metrics import Estimate
from gradshape.training import AnyRecipe, GradientProbe, Recipe, Scoring, TrainedModel, TrainingResult
from gradshape.unsuitable import Unsuitable
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Measurement, Part, Subject
from gradshape_bench.protocols.base_models import Base
from gradshape_bench.protocols.groups import Group, Results, Trainings
from gradshape_bench.protocols.on_copies import on_copies
from gradshape_bench.protocols.refusal import refusal

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Lab:
    """Makes the jobs of one case's experiment, asks for their results, and records what all experiments record.

    Attributes:
        case: what is measured.
        dataset: what victims are trained on.
        device: where jobs run, such as ``cpu`` or ``cuda:0``.
    """

    case: Subject
    dataset: Dataset
    device: str

    # Groups: one job a seed of the case, or of `seeds` where they are given. Other sequences have one item a job.

    def craft(
        self,
        attack: Attack,
        recipe: AnyRecipe,
        *,
        seeds: Sequence[int] | None = None,
        targets: Sequence[Split] | None = None,
        intended: Sequence[Tensor] | None = None,
        networks: Sequence[tuple[TrainedModel, ...]] | None = None,
    ) -> Group[PoisonSet]:
        """Craft poison against victims trained by ``recipe``; the other arguments are :class:`Craft`'s, one a job.

        Where the case's task has a surrogate, attacks are told that in the place of ``recipe``.
        """
        recipe = self.case.surrogate or recipe
        seeds = self.case.seeds if seeds is None else seeds
        n = len(seeds)
        known = zip(seeds, _each(targets, n), _each(intended, n), _each(networks, n), strict=True)
        return Group(
            [
                Craft.against(
                    self.dataset,
                    self.device,
                    attack,
                    recipe=recipe,
                    seed=seed,
                    target=target,
                    intended=classes,
                    networks=trained or (),
                )
                for seed, target, classes, trained in known
            ]
        )

    def train_unfiltered(
        self,
        recipe: AnyRecipe,
        *,
        seeds: Sequence[int] | None = None,
        watch: Sequence[Split] | None = None,
        keep_states: bool = False,
        keep_optimizer: bool = False,
    ) -> Trainings:
        """Train on all clean rows, whatever the defence would filter; arguments as for :meth:`train`."""
        trainings = self.train(recipe, seeds=seeds, watch=watch, keep_states=keep_states, keep_optimizer=keep_optimizer)
        return Trainings(trainings.jobs)

    def train(
        self,
        recipe: AnyRecipe,
        poisons: Sequence[PoisonSet] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        bases: Sequence[Base] | None = None,
        watch: Sequence[Split] | None = None,
        targets: Sequence[Split] | None = None,
        order_seeds: Sequence[int] | None = None,
        intended: Sequence[Tensor | None] | None = None,
        scoring: Sequence[Scoring] | None = None,
        probe: GradientProbe | None = None,
        keep_states: bool = False,
        keep_optimizer: bool = False,
    ) -> Trainings:
        """Train on the clean rows and the poison, less what the case's defence removes.

        Args:
            recipe: how the victims are trained.
            poisons: one a job; without them, clean rows alone.
            seeds: one a job.
            bases: what each job goes on from; without them, fresh weights.
            watch: test rows that each job predicts.
            targets: what the attacker is after in each job, for defences that know it.
            order_seeds: what the order of the clean rows in each job is drawn by; without them, its seed.
            intended: classes of the watched rows that end each job; ``None`` for a job that nothing ends.
            scoring: after which epochs each job scores its test rows; without it, after every one.
            probe: what is measured of the gradients.
            keep_states, keep_optimizer: whether the results have parameters, and what the optimizer remembers.
        """
        seeds = self.case.seeds if seeds is None else seeds
        n = len(seeds)
        jobs = [
            Train(
                self.dataset,
                self.device,
                recipe,
                seed=seed,
                poison=poison,
                watch=rows,
                initial=None if base is None else base.result.best,
                initial_optimizer=None if base is None else base.result.best_optimizer,
                order_seed=order_seed,
                intended=classes,
                scoring=Scoring.EVERY_EPOCH if scored is None else scored,
                probe=probe,
                keep_states=keep_states,
                keep_optimizer=keep_optimizer,
            )
            for seed, poison, base, rows, order_seed, classes, scored in zip(
                *(seeds, _each(poisons, n), _each(bases, n), _each(watch, n)),
                *(_each(order_seeds, n), _each(intended, n), _each(scoring, n)),
                strict=True,
            )
        ]
        if not self.case.defense.filters:
            return Trainings(jobs)
        filters = [
            Filter.by(
                self.dataset,
                self.device,
                self.case.defense,
                recipe=recipe,
                poison=job.poison,
                seed=job.seed,
                targets=target,
                model=None if base is None else base.model,
            )
            for job, base, target in zip(jobs, _each(bases, n), _each(targets, n), strict=True)
        ]
        return Trainings(jobs, filters)

    def train_trusted(self, recipe: AnyRecipe) -> Trainings:
        """Train on the rows alone that the case's defence trusts; no job if it is given no clean rows.

        A defence that does not do better than this has no use for the rows that it does not trust.
        """
        masks = [trusted_rows(self.case.defense, self.dataset.train, seed=seed) for seed in self.case.seeds]
        return Trainings(
            [
                # On all rows it is the training that the case needs anyway.
                Train(self.dataset, self.device, recipe, seed=seed, keep=None if mask.all() else mask)
                for seed, mask in zip(self.case.seeds, masks, strict=True)
                if mask is not None
            ]
        )

    @overload
    def ask(self, first: Group[A], /) -> Part[Results[A]]: ...
    @overload
    def ask(self, first: Group[A], second: Group[B], /) -> Part[tuple[Results[A], Results[B]]]: ...
    @overload
    def ask(
        self, first: Group[A], second: Group[B], third: Group[C], /
    ) -> Part[tuple[Results[A], Results[B], Results[C]]]: ...
    def ask(self, *groups: Group[Any]) -> Part[Any]:
        """Wait for all jobs of some groups: ``first, second = yield from lab.ask(one, other)``.

        Where the case's defence filters, all filters are asked first.
        """
        filters = [job for group in groups for job in group.filters]
        kept: Iterator[Tensor] = iter((yield filters) if filters else ())
        masks = [list(islice(kept, len(group.filters))) for group in groups]
        jobs = [group.filtered(own) for group, own in zip(groups, masks, strict=True)]
        given: Iterator[Any] = iter((yield [job for own in jobs for job in own]))
        results = [
            Results(list(islice(given, len(own))), own, group.filters, kept_rows)
            for group, own, kept_rows in zip(groups, jobs, masks, strict=True)
        ]
        return results[0] if len(results) == 1 else tuple(results)

    # What is refused.

    def check_applies(self, protocol: object) -> None:
        """Raise ``Unsuitable`` if the protocol refuses the case's attack or recipe."""
        reason = refusal(protocol, self.case.attack, self.case.vanilla)
        if reason is not None:
            raise Unsuitable(reason)

    def check_no_attack(self, protocol: str) -> None:
        """Raise ``Unsuitable`` if the case has an attack."""
        if self.case.attack.budget(len(self.dataset.train)):
            raise Unsuitable(
                f"attack {self.case.attack.label!r}: {protocol} trains on clean data only: expected NoAttack()"
            )

    def check_poison(self, protocol: str) -> None:
        """Raise ``Unsuitable`` if the case's attack adds no poison."""
        if not self.case.attack.budget(len(self.dataset.train)):
            raise Unsuitable(f"attack {self.case.attack.label!r} adds no poison: {protocol} needs some")

    # What is recorded.

    def setting(self, recipe: AnyRecipe, accuracy: Accuracy) -> dict[str, Any]:
        """Return how trainings by ``recipe`` were done and measured, as plain values."""
        return {
            "accuracy": accuracy.value,
            "train_rows": len(self.dataset.train),
            "test_rows": len(self.dataset.test),
            **setup_of(recipe),
        }

    def measurement(
        self,
        metrics: Mapping[str, Estimate],
        *,
        recipe: AnyRecipe,
        accuracy: Accuracy = Accuracy.BEST,
        poisons: Results[PoisonSet] | None = None,
        poisoned: Results[TrainingResult] | None = None,
        **details: Any,
    ) -> Measurement:
        """Return what an experiment found, with what all experiments record.

        Args:
            metrics: by name.
            recipe, accuracy: how the trainings were done, and which epoch the metrics without suffix are of.
            poisons: their sizes are recorded, and the time that they took.
            poisoned: trainings with poison; the time that they and their filters took is recorded.
            details: what else is worth recording, as plain values.
        """
        common, timed = self.setting(recipe, accuracy), dict[str, Sequence[AnyJob]]()
        if poisons is not None:
            common["budget"] = self.case.attack.budget(len(self.dataset.train))
            common["poison_rows"] = [len(poison) for poison in poisons]
            timed["crafting"] = poisons.jobs
        if poisoned is not None:
            timed |= {"filtering": poisoned.filters, "training": poisoned.jobs}
        return Measurement(metrics, common | details, timed)

    def comparison(
        self,
        metrics: Mapping[str, Estimate],
        *,
        vanilla: Sequence[TrainingResult],
        clean: Results[TrainingResult],
        poisoned: Results[TrainingResult],
        poisons: Results[PoisonSet],
        recipe: AnyRecipe,
        accuracy: Accuracy,
        trusted: Results[TrainingResult] | None = None,
        **details: Any,
    ) -> Measurement:
        """Return what an experiment found that does the same trainings without and with poison.

        This is what poison and defence do to the accuracy or the mean squared error, what a filter removed, and what
        the attack notes of its poison.

        Args:
            metrics: further ones, by name.
            vanilla: trained on clean data without the defence, one a seed.
            clean: with it.
            poisoned: with it and with the poison.
            trusted: as from :meth:`train_trusted`.
            poisons, recipe, accuracy, details: as for :meth:`measurement`.
        """
        if self.dataset.regression:
            found = effect_metrics.error_metrics(vanilla, clean, poisoned)
        else:
            found = accuracy.estimates(partial(effect_metrics.accuracy_metrics, vanilla, clean, poisoned))
            if trusted:
                found |= accuracy.estimates(partial(effect_metrics.trusted_metrics, vanilla, trusted))
                kept = [job.keep for job in trusted.jobs if isinstance(job, Train)]
                details["trusted_rows"] = [
                    len(self.dataset.train) if mask is None else int(mask.sum()) for mask in kept
                ]
        if any(poison.notes for poison in poisons):
            details["notes"] = [dict(poison.notes) for poison in poisons]
        if poisoned.masks:
            removed, counts = effect_metrics.filter_metrics(poisoned.masks, poisons, len(self.dataset.train))
            found |= removed
            details |= counts
        return self.measurement(
            {**found, **metrics},
            recipe=recipe,
            accuracy=accuracy,
            poisons=poisons,
            poisoned=poisoned,
            **details,
        )


class Protocol(Interface):
    """A frozen dataclass with these members. ``run`` is written straight down the page: it asks for groups of jobs,
    gets back their results, and may ask again, knowing them. Scheduling, sharing and caching are not its business.
    """

    @property
    def label(self) -> str:
        """Name for ids and records."""
        ...

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case."""
        ...


def experiment(protocol: Protocol, case: Subject, dataset: Dataset, device: str) -> Experiment:
    """Run the experiment of one case. What code in it changes of the state of the process ends with every step.

    Raises:
        ValueError: the case's defence cannot be used on this data, or the protocol wrote to what it was shown.
    """
    running = _on_rows(protocol, case, dataset, device)
    given: Any = None
    while True:
        try:
            # Attacks and defences are asked here what they can be used on, too, in the thread that runs everything.
            with _global_state.restored():
                jobs = running.send(given)
        except StopIteration as stop:
            measured: Measurement = stop.value
            return measured
        given = yield jobs


def _on_rows(protocol: Protocol, case: Subject, dataset: Dataset, device: str) -> Experiment:
    Lab(case, dataset, device).check_applies(protocol)
    defense, classes = case.defense, dataset.num_classes
    reason = defense.refuses(case.vanilla, num_classes=classes) or defense.unsuitable(dataset.copy(), case.vanilla)
    if reason is not None:
        raise Unsuitable(f"{defense.label_for(case.vanilla)} cannot be used on {dataset.name}: {reason}")

    def begin(rows: Dataset) -> Experiment:
        return protocol.run(case, Lab(case, rows, device))

    ours = type(protocol).__module__.split(".")[0] == __name__.split(".")[0]
    return (yield from begin(dataset) if ours else on_copies(begin, dataset, protocol.label))


def setup_of(recipe: AnyRecipe) -> dict[str, Any]:
    """Return how a recipe trains, as plain values for records.

    >>> from gradshape.training import Fit
    >>> setup_of(Fit("svm_linear", c=1.0))
    {'estimator': 'svm_linear(c=1.0)', 'epochs': 1}
    """
    if not isinstance(recipe, Recipe):
        settings = ", ".join(f"{name}={value!r}" for name, value in recipe.settings)
        return {"estimator": f"{recipe.model}({settings})", "epochs": 1}
    return {
        "optimizer": recipe.optimizer.label,
        "lr": asdict(recipe.optimizer)["lr"],
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "shaper": recipe.shaper.label,
    }


def _each(items: Sequence[Item] | None, count: int) -> Sequence[Item | None]:
    """Return one item for each job: ``None`` for all of them if there are no items."""
    return [None] * count if items is None else items
