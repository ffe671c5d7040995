"""The worst of several attacks, as one attack: what a defence has to withstand if the attacker may choose."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch

from gradshape.attacks import Attack, ThreatModel, VictimView
from gradshape.metrics import Estimate, largest
from gradshape.training import AnyRecipe
from gradshape_bench.clean_model import is_robustness
from gradshape_bench.protocols.base import Experiment, Measurement, Part, Subject
from gradshape_bench.protocols.from_scratch import FromScratch
from gradshape_bench.protocols.lab import Lab, Protocol, experiment
from gradshape_bench.protocols.refusal import refusal

_DAMAGES = ("backdoor_rate", "rad", "mse_ratio", "success_rate")


@dataclass(frozen=True)
class WorstOf(Attack):
    """An attacker who makes whichever of several attacks does the most harm; for :class:`WorstCase` only.

    Args:
        attacks: at least two, of equal budget.

    Raises:
        ValueError: there are fewer than two, or two of one label.
    """

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        labels = [attack.label for attack in self.attacks]
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"attacks={labels!r}: expected at least two attacks of different labels")

    @property
    def label(self) -> str:
        fractions = {getattr(attack, "fraction", None) for attack in self.attacks}
        shared = fractions.pop() if len(fractions) == 1 else None
        return f"worst_of_{len(self.attacks)}" + (f"_{100 * shared:g}" if isinstance(shared, float) else "")

    @property
    def threat(self) -> ThreatModel:  # type: ignore[override]
        """What at least one of the attacks knows."""
        first, *others = (attack.threat for attack in self.attacks)
        for name in ("training_data", "features", "algorithm", "parameters"):
            best = max((getattr(threat, name) for threat in (first, *others)), key=lambda known: known.granted)
            first = replace(first, **{name: best})
        return first

    def budget(self, train_rows: int) -> int:
        """Return what all of them add.

        Raises:
            ValueError: they differ.
        """
        budgets = {attack.label: attack.budget(train_rows) for attack in self.attacks}
        if len(set(budgets.values())) > 1:
            raise ValueError(f"budgets of {train_rows} rows differ, {budgets}: the worst is one of equal budget")
        return next(iter(budgets.values()))

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> NoReturn:
        raise TypeError(f"{self.label} is several attacks: expected the protocol WorstCase to make each of them")


@dataclass(frozen=True)
class WorstCase:
    """Another protocol's experiment with each attack of a :class:`WorstOf`, of which the worst counts.

    Every metric of what poison does is the largest over the attacks, with an interval that holds the largest true
    value. All other metrics and details are those of the attack that does the most harm in the mean. Nothing is
    computed that the cases of the single attacks do not need, too.

    Args:
        protocol: the experiment with each attack.
    """

    protocol: Protocol = field(default=FromScratch())

    @property
    def label(self) -> str:
        name = self.protocol.label.removeprefix("from_scratch")
        return f"worst_case_{name.removeprefix('_')}" if name else "worst_case"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack or the recipe is none for it: it takes several attacks, each one for its protocol."""
        if not isinstance(attack, WorstOf):
            return f"attack {attack.label!r}: {self.label} expects a WorstOf several attacks"
        reasons = (refusal(self.protocol, one, recipe) for one in attack.attacks)
        return next((reason for reason in reasons if reason is not None), None)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the case's attack is no :class:`WorstOf`, its attacks have different budgets, or the protocol
                does not measure what poison does.
        """
        lab.check_applies(self)
        assert isinstance(case.attack, WorstOf)
        attacks = case.attack.attacks
        case.attack.budget(len(lab.dataset.train))
        found = yield from side_by_side([self._with(attack, case, lab) for attack in attacks])
        damage = next((name for name in _DAMAGES if name in found[0].metrics), None)
        if damage is None:
            raise ValueError(f"{self.protocol.label} measures none of {', '.join(_DAMAGES)}: there is no worst attack")
        worst = max(range(len(found)), key=lambda place: found[place].metrics[damage].value)
        return Measurement(
            {name: _largest(name, found, estimate) for name, estimate in found[worst].metrics.items()},
            {
                **found[worst].details,
                "worst_attack": attacks[worst].label,
                "attacks": {
                    attack.label: float(f"{one.metrics[damage].value:.6g}")
                    for attack, one in zip(attacks, found, strict=True)
                },
            },
            found[worst].timed,
        )

    def _with(self, attack: Attack, case: Subject, lab: Lab) -> Experiment:
        own: Any = replace(case, attack=attack)  # type: ignore[type-var]
        return experiment(self.protocol, own, lab.dataset, lab.device)


def side_by_side(experiments: Sequence[Experiment]) -> Part[list[Measurement]]:
    """Run several experiments as one that asks for the jobs of all of them together, in their order."""
    ended: dict[int, Measurement] = {}
    given: dict[int, Sequence[Any] | None] = dict.fromkeys(range(len(experiments)))
    while given:
        asked = {}
        for place, results in given.items():
            try:
                asked[place] = experiments[place].send(results)  # type: ignore[arg-type]
            except StopIteration as stop:
                ended[place] = stop.value
        jobs = [job for own in asked.values() for job in own]
        if not asked:
            break
        results_of_all = list((yield jobs))
        given = {}
        for place, own in asked.items():
            given[place], results_of_all = results_of_all[: len(own)], results_of_all[len(own) :]
    return [ended[place] for place in range(len(experiments))]


def _largest(name: str, found: Sequence[Measurement], of_worst: Estimate) -> Estimate:
    if not is_robustness(name):
        return of_worst
    return largest([one.metrics[name] for one in found if name in one.metrics])
