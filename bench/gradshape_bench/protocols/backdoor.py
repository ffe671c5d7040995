"""Poison that opens a back door: what a model makes of test rows that carry the attack's trigger."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from gradshape import _seeds, _validate
from gradshape.attacks import Attack
from gradshape.data import Dataset, Split
from gradshape.training import AnyRecipe, TrainingResult
from gradshape_bench.jobs import Craft, Train
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.base import Experiment, Subject, check_defense, setting_of, setup_of
from gradshape_bench.protocols.bases import Base, base_models, recipes_of
from gradshape_bench.protocols.filtering import filtering, finished
from gradshape_bench.protocols.snapshot import snapshot
from gradshape_bench.protocols.start import Retrained, Scratch


@dataclass(frozen=True)
class Backdoor:
    """The share of triggered test rows that are taken for the class that the attack claims.

    For each seed: the vanilla recipe on clean data, the attack, and the defended recipe on clean data and on clean data
    and poison together. With :class:`Retrained` the last two go on from the best state of a base model. Test rows whose
    true class is not the claimed one are given the trigger and watched; the clean model shows how many of them are
    taken for the claimed class without any poison.

    Args:
        start: what the poisoned training begins with.
        accuracy: which epoch's model the metrics without suffix are of: ``best`` by test accuracy, as in the paper's
            code, or ``last``.
        rows: at most so many test rows are watched, drawn by seed: every training keeps ``epochs x rows`` predictions.

    Raises:
        ValueError: ``rows`` is not positive, or an unknown ``accuracy``.

    Gu et al. 2019, BadNets; Hong et al. 2020, section 3.1 (feature insertion) and 3.3 (re-training).
    """

    start: Scratch | Retrained = field(default=Scratch())
    accuracy: str = "best"
    rows: int = 500

    def __post_init__(self) -> None:
        epochs.check(self.accuracy)
        _validate.positive_int(rows=self.rows)

    @property
    def label(self) -> str:
        return f"backdoor{self.start.label}{'' if self.accuracy == 'best' else f'_{self.accuracy}'}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the attack has no trigger or adds no poison, no test row can carry the trigger, the defence
                cannot be used on this data, or an estimator is to be trained further.
        """
        recipe, attack = self._recipe(case), case.attack
        if attack.budget(len(dataset.train)) == 0:
            raise ValueError(f"attack {attack.label!r} adds no poison: {self.label} needs some")
        check_defense(case, dataset)
        seeds, n = case.seeds, len(case.seeds)
        triggered, claimed = _triggered(attack, dataset, self.label)
        watched = [self._watched(triggered, seed) for seed in seeds]
        again = isinstance(self.start, Retrained)
        crafting = [Craft.against(dataset, device, attack, recipe, seed) for seed in seeds]
        bases: Sequence[Base | None] = [None] * n
        if isinstance(self.start, Retrained):
            bases, poisons = yield from base_models(case, dataset, device, self.start, what=self.label, beside=crafting)
            vanilla: Sequence[TrainingResult] = [base.vanilla for base in bases if base is not None]
        else:
            first = yield [*(Train(dataset, device, case.vanilla, seed) for seed in seeds), *crafting]
            vanilla, poisons = first[:n], first[n:]
        added = (*[None] * n, *poisons)
        filters, kept = yield from filtering(
            case,
            dataset,
            device,
            added,
            (*seeds, *seeds),
            recipe=recipe if again else None,
            models=[None if base is None else base.model for base in (*bases, *bases)],
        )
        training = [
            Train(
                dataset,
                device,
                recipe,
                seed,
                poison,
                keep=keep,
                watch=rows,
                initial=None if base is None else base.result.best,
                initial_optimizer=None if base is None else base.result.best_optimizer,
            )
            for seed, poison, keep, rows, base in zip(
                (*seeds, *seeds), added, kept, (*watched, *watched), (*bases, *bases), strict=True
            )
        ]
        trained = yield training
        clean, poisoned = trained[:n], trained[n:]

        def values(epoch: str) -> dict[str, list[float]]:
            rates = {
                name: [_rate(result, claimed, epoch) for result in results]
                for name, results in (("backdoor_rate", poisoned), ("backdoor_rate_clean", clean))
            }
            return rates | epochs.of_poison(vanilla, clean, poisoned, epoch)

        metrics = epochs.estimates(values, chosen=self.accuracy)
        details = {
            **setting_of(case, dataset, recipe, poisons, accuracy=self.accuracy),
            "triggered_rows": [len(rows) for rows in watched],
            "diverged": sum(result.diverged is not None for result in (*vanilla, *clean, *poisoned)),
            "example": snapshot(poisons[0]),
        }
        if again:
            details["clean_epochs"] = setup_of(case.vanilla)["epochs"]
        return finished(metrics, details, crafting=crafting, filters=filters, training=training)

    def _recipe(self, case: Subject) -> AnyRecipe:
        """Of the trainings that are watched."""
        if isinstance(self.start, Scratch):
            return case.recipe
        return recipes_of(case, self.start, self.label)[1]

    def _watched(self, triggered: Split, seed: int) -> Split:
        """Some of the rows, in their order."""
        order = torch.randperm(len(triggered), generator=_seeds.stream(seed, "triggered"))
        chosen = order[: self.rows].sort().values
        return Split(triggered.x[chosen], triggered.y[chosen])


def _triggered(attack: Attack, dataset: Dataset, protocol: str) -> tuple[Split, int]:
    """Test rows with the trigger, and the class that they are to be taken for."""
    reason = attack.unsuitable(dataset)
    if reason is not None:
        raise ValueError(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    found, claimed = attack.triggered(dataset.test), attack.claimed_class
    if found is None or claimed is None:
        raise ValueError(f"attack {attack.label!r} has no trigger: {protocol} needs one, such as that of BadNetsPatch")
    if not len(found):
        raise ValueError(
            f"{dataset.name}: every test row is of class {claimed}, which {attack.label} claims: expected at least 1 "
            "row of another class"
        )
    return found, claimed


def _rate(result: TrainingResult, claimed: int, epoch: str) -> float:
    """Share of the watched rows that are taken for the claimed class."""
    assert result.predictions is not None
    place = result.best_epoch - 1 if epoch == "best" else -1
    return float((result.predictions[place] == claimed).double().mean())
