"""StingRay: rows of the intended class that are given features of the target, and do no harm to others."""

import math
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _digest, _seeds, _validate
from gradshape.attacks.base import VictimView
from gradshape.attacks.poison_set import Aims, PoisonSet
from gradshape.attacks.stingray._negative_impact import HeldOutLoss
from gradshape.attacks.stingray.insertion import Insertion, SwitchOn
from gradshape.attacks.targeted_attack import TargetedAttack
from gradshape.attacks.threat import ON_TARGETS, Knowledge, ThreatModel
from gradshape.data import Dataset, Split
from gradshape.features import penultimate_features
from gradshape.training import Recipe


@dataclass(frozen=True)
class StingRay(TargetedAttack):
    """Give test rows of the intended class, near the target, some of the target's features; their label stays as it is.

    Each poison row is made from a row that is drawn at random among the ``nearest`` rows of the intended class, by L1
    distance to the target, and gets features of the target by ``insertion``. A row that would do harm is replaced by
    the next draw, so that there may be fewer rows than asked for in the end. A row does harm if a gradient step on it
    raises the mean loss on the test rows, without the target and the row that it was made from. The rows for a target
    stand in the order of crafting.

    What is drawn for a target depends on the seed, the target and the intended class only, not on the other targets.

    Args:
        poisons: at most so many rows for each target.
        insertion: :class:`SwitchOn` for data of zeros and ones, :class:`Nudge` for pictures.
        nearest: how many rows of the intended class bases are drawn from, with replacement, at least 1; all of them if
            there are fewer.
        known: features that the attacker knows: a share in (0, 1], drawn by seed, at least one feature and the same
            ones for all targets; or their ids in flattened rows. Distances count these alone, and no others change.
        harm: largest rise of the mean held-out loss, to first order and a unit of learning rate, that a row may cause,
            at least 0; ``None`` for no such test.
        tries: rounds of ``poisons`` draws at most for each target, at least 1, while rows fail the test.
        substitutes: recipe of a network, at most one, that takes the place of the victim's, which the attacker then
            need not know; of use for the test and for the distances that are reported. Empty for the victim's own.

    Raises:
        ValueError: a number is out of range; and what :class:`TargetedAttack` says.

    The published code returns its input before its definitions begin: as published, it crafts nothing. There, poison
    grows by 50 rows at a time until a model that is trained again takes the target for the intended class. Here the
    rows are made at once, and what evaluates them may train on as many of the first as it likes. The test for negative
    impact trains again with each row; here it takes a gradient step on the last layer. Poison is made from test rows,
    as by Hong et al. 2020, section 6.3. All defaults are this library's.

    Suciu et al. 2018, When does machine learning FAIL?, which calls a restriction to some features limited feature
    knowledge; Hong et al. 2020, Table 1. The table has it for tasks of many classes, and it works for two.

    >>> from gradshape import data, models
    >>> from gradshape.training import SGD, TrainedModel
    >>> mail = data.load("spam_zipf")
    >>> spam = Split(mail.test.x[mail.test.y == 1][:2], torch.tensor([1, 1]))
    >>> recipe = Recipe("lr", SGD(0.1), batch_size=20, epochs=1)
    >>> lr = TrainedModel(recipe, models.build("lr", mail.input_shape, 2).state_dict())
    >>> poison = StingRay(3)(mail, seed=0, target=spam, intended=torch.tensor([0, 0]), networks=[lr])
    >>> poison.aims.target.tolist(), poison.y.tolist()
    ([0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0])
    """

    insertion: Insertion = field(default=SwitchOn())
    nearest: int = 50
    _: KW_ONLY
    known: float | tuple[int, ...] = 1.0
    harm: float | None = 0.0
    tries: int = 5
    substitutes: tuple[Recipe, ...] = ()

    threat: ClassVar[ThreatModel] = replace(
        ON_TARGETS, orientation="Unstable / High", source="Suciu et al. 2018, When does machine learning FAIL?"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive_int(nearest=self.nearest, tries=self.tries)
        if self.harm is not None:
            _validate.finite_non_negative(harm=self.harm)
        if not isinstance(self.known, tuple):
            _validate.positive_fraction(known=self.known)
        elif not self.known or len(set(self.known)) < len(self.known) or not all(map(_is_id, self.known)):
            raise ValueError(f"known={self.known!r}: expected at least 1 feature id, distinct integers from 0")
        if len(self.substitutes) > 1:
            raise ValueError(f"substitutes={self.substitutes!r}: expected at most 1 recipe")
        if self.substitutes:
            object.__setattr__(self, "threat", replace(self.threat, parameters=Knowledge.NONE))

    @property
    def label(self) -> str:
        parts = [
            self.insertion.label,
            "" if self.nearest == type(self).nearest else f"_near{self.nearest}",
            self._known_label,
            "_untested" if self.harm is None else "" if self.harm == 0 else f"_harm{self.harm:g}",
            "" if self.tries == type(self).tries else f"_tries{self.tries}",
            *(f"_by-{recipe.model}" for recipe in self.substitutes),
        ]
        return f"stingray{''.join(parts)}_{self.poisons}"

    @property
    def _known_label(self) -> str:
        if isinstance(self.known, tuple):
            return f"_known{len(self.known)}-{_digest.name(self.known)[:6]}"
        return "" if self.known == 1 else f"_known{100 * self.known:g}"

    def unsuitable(self, dataset: Dataset) -> str | None:
        reason = super().unsuitable(dataset) or self.insertion.unsuitable(dataset)
        features = math.prod(dataset.input_shape)
        if reason is None and isinstance(self.known, tuple) and max(self.known) >= features:
            return f"its rows have {features} features: expected known ids below that, got {max(self.known)}"
        return reason

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        seed = int(torch.randint(2**62, (), generator=generator))
        known = self._known_features(math.prod(victim.input_shape), seed).to(victim.device)
        held_out = None if self.harm is None else HeldOutLoss(victim.networks[0], victim.candidates)
        parts: list[tuple[Tensor, Tensor]] = []
        for place in range(len(victim.target)):
            parts.append(self._against(place, victim, count, known=known, held_out=held_out, seed=seed))
            crafted = sum(len(base) for _, base in parts)
            victim.report(place + 1, len(victim.target), crafted / ((place + 1) * count))
        x, base = torch.cat([x for x, _ in parts]), torch.cat([base for _, base in parts])
        numbers = torch.tensor([len(base) for _, base in parts], device=x.device)
        target = torch.arange(len(parts)).to(x.device).repeat_interleave(numbers, dim=0)
        aims = Aims(target, base, self._distance(victim, x, target))
        return PoisonSet.added(x, victim.intended[target], aims=aims)

    def _known_features(self, features: int, seed: int) -> Tensor:
        known = torch.zeros(features, dtype=torch.bool)
        if isinstance(self.known, tuple):
            known[list(self.known)] = True
        else:
            order = torch.randperm(features, generator=_seeds.stream(seed, "known features"))
            known[order[: max(1, round(self.known * features))]] = True
        return known

    def _against(
        self, place: int, victim: VictimView, count: int, *, known: Tensor, held_out: HeldOutLoss | None, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Make poison for the target at this place; returns it with the ids of the test rows that it was made from."""
        candidates, label = victim.candidates, int(victim.intended[place])
        target = victim.target.x[place].flatten()
        generator = _seeds.stream(seed, "target", _digest.of(target), label)
        rows = candidates.x.flatten(1)
        members = (candidates.y == label).nonzero().squeeze(1)
        distance = (rows[members][:, known] - target[known]).abs().sum(1)
        nearest = members[distance.argsort(stable=True)[: self.nearest]]
        # The loss on the target itself may rise.
        counted = (rows != target).any(1)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.tries):
            drawn = torch.randint(len(nearest), (count,), generator=generator).to(nearest.device)
            base = nearest[drawn]
            x = self.insertion.insert(rows[base], target, known=known, generator=generator)
            x = x.view(-1, *victim.input_shape)
            if held_out is not None and self.harm is not None:
                rises = held_out.rise(Split(x, torch.full_like(base, label)), counted=counted, made_from=base)
                harmless = rises <= self.harm
                x, base = x[harmless], base[harmless]
            found.append((x, base))
            if sum(len(base) for _, base in found) >= count:
                break
        return torch.cat([x for x, _ in found])[:count], torch.cat([base for _, base in found])[:count]

    def _distance(self, victim: VictimView, x: Tensor, target: Tensor) -> Tensor:
        if not len(x):
            return x.new_zeros(0)
        network = victim.networks[0]
        distance: Tensor = (
            penultimate_features(network, x) - penultimate_features(network, victim.target.x)[target]
        ).norm(dim=1)
        return distance.float()


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
