"""What holds of every attack that aims at single test rows, and that none gets away with breaking it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from gradshape.attacks import Crafting, PoisonSet, TargetedAttack, ThreatModel, VictimView
from gradshape.attacks.poison_set import Aims
from gradshape.attacks.targeted_attack import poison_by_target
from gradshape.data import Dataset, Split
from gradshape.testing.attack import aim
from tests.attacks.attacks import DATASETS, FROGS, TARGETED
from tests.training.samples import blobs

DATA = DATASETS["pictures"]
each_attack = pytest.mark.parametrize("attack", TARGETED, ids=lambda attack: attack.label)


def aims_of(poison: PoisonSet) -> Aims:
    assert poison.aims is not None
    return poison.aims


@each_attack
def test_every_target_has_at_most_the_budget_in_order(attack: TargetedAttack) -> None:
    aims = aims_of(attack(DATA, seed=0, **aim(attack, DATA, targets=5)))
    assert len(aims.target) > attack.poisons
    assert aims.target.bincount().max() <= attack.poisons
    assert torch.equal(aims.target, aims.target.sort().values)
    for target in aims.target.unique():
        distance = aims.distance[aims.target == target]
        assert torch.equal(distance, distance.sort().values)


@each_attack
def test_poison_is_labelled_as_wanted_and_made_from_test_rows_of_that_class(attack: TargetedAttack) -> None:
    call = aim(attack, DATA, targets=5)
    poison = attack(DATA, seed=0, **call)
    aims = aims_of(poison)
    assert torch.equal(poison.y, call["intended"][aims.target])
    assert torch.equal(DATA.test.y[aims.base], poison.y)
    for target in aims.target.unique():
        base = aims.base[aims.target == target]
        assert len(base.unique()) == len(base)


@each_attack
def test_a_target_gets_the_same_poison_alone_as_among_others(attack: TargetedAttack) -> None:
    call = aim(attack, DATA, targets=5)
    among = attack(DATA, seed=0, **call).against(3)
    one = slice(3, 4)
    target = Split(call["target"].x[one], call["target"].y[one])
    alone = attack(DATA, seed=0, target=target, intended=call["intended"][one], networks=call["networks"])
    assert len(alone) > 0
    torch.testing.assert_close(alone.x, among.x, rtol=0, atol=2e-3)
    torch.testing.assert_close(aims_of(alone).distance, aims_of(among).distance, rtol=1e-2, atol=1e-3)
    assert torch.equal(aims_of(alone).base, aims_of(among).base)


@each_attack
def test_more_poisons_than_candidates_uses_all_that_there_are(attack: TargetedAttack) -> None:
    # Class 1 has two test rows, class 2 one, and the first target is after the one, the second after the other.
    rows = torch.tensor([0, 4, 1, 5, 2])
    few = replace(DATA, test=Split(DATA.test.x[rows], DATA.test.y[rows]))
    call = {**aim(attack, few, targets=2), "intended": torch.tensor([1, 2])}
    bases = attack_everywhere(attack)(few, seed=0, **call).aims
    assert bases is not None
    assert [sorted(bases.base[bases.target == place].tolist()) for place in (0, 1)] == [[2, 3], [4]]


def attack_everywhere(attack: TargetedAttack) -> TargetedAttack:
    """The attack with more poisons, none of which is left out for its distance."""
    wide: dict[str, Any] = {"within": 1e9} if attack in FROGS else {}
    return replace(attack, poisons=50, **wide)


@each_attack
def test_another_order_of_the_targets_is_the_same_poison_in_another_order(attack: TargetedAttack) -> None:
    call = aim(attack, DATA, targets=3)
    backwards = {
        **call,
        "target": Split(call["target"].x.flip(0), call["target"].y.flip(0)),
        "intended": call["intended"].flip(0),
    }
    one, other = attack(DATA, seed=0, **call), attack(DATA, seed=0, **backwards)
    for place in range(3):
        torch.testing.assert_close(other.against(2 - place).x, one.against(place).x, rtol=0, atol=2e-3)


@each_attack
def test_progress_never_exceeds_its_end(attack: TargetedAttack) -> None:
    reports: list[Crafting] = []
    attack(DATA, seed=0, progress=reports.append, **aim(attack, DATA, targets=2))
    assert reports
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert steps[-1] <= reports[-1].steps


def _filled(target: Split, value: float) -> Split:
    return Split(torch.full_like(target.x, value), target.y)


CALLS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no-target": (lambda call: {**call, "target": None}, "no target was given"),
    "empty-target": (
        lambda call: {**call, "target": Split(DATA.test.x[:0], DATA.test.y[:0]), "intended": call["intended"][:0]},
        "no target was given",
    ),
    "not-a-number": (
        lambda call: {**call, "target": _filled(call["target"], torch.nan)},
        "target 0 holds the value nan: expected numbers",
    ),
    "infinite": (lambda call: {**call, "target": _filled(call["target"], torch.inf)}, "target 0 holds the value inf"),
    "out-of-range": (lambda call: {**call, "target": _filled(call["target"], 1.5)}, "target 0 holds the value 1.5"),
    "other-shape": (
        lambda call: {**call, "target": Split(call["target"].x.flatten(1), call["target"].y)},
        r"target has x \(2, .*: expected \(n, 1, ",
    ),
    "no-labels": (lambda call: {**call, "target": Split(call["target"].x, call["target"].y[:1])}, r"y \(1,\)"),
    "nothing-intended": (lambda call: {**call, "intended": None}, r"intended=None: expected int64 \(2,\)"),
    "intended-dtype": (
        lambda call: {**call, "intended": call["intended"].float()},
        r"torch.float32.*expected int64 \(2,\)",
    ),
    "intended-shape": (lambda call: {**call, "intended": call["intended"][:1]}, r"\(1,\).*expected int64 \(2,\)"),
    "own-class": (
        lambda call: {**call, "intended": torch.tensor([1, int(call["target"].y[1])])},
        "target 1 is of class 1, which is its intended class",
    ),
    "unknown-class": (
        lambda call: {**call, "intended": torch.tensor([1, 9])},
        "intended class 9: blobs has no test row",
    ),
    "no-networks": (lambda call: {**call, "networks": []}, r"no networks.*networks=\[TrainedModel"),
}


@pytest.mark.parametrize("what", CALLS)
@each_attack
def test_a_call_that_fits_no_attack_is_refused_by_name(attack: TargetedAttack, what: str) -> None:
    change, message = CALLS[what]
    with pytest.raises(ValueError, match=f"{attack.label}: .*{message}"):
        attack(DATA, seed=0, **change(dict(aim(attack, DATA, targets=2))))


@pytest.mark.parametrize("attack", [one for one in TARGETED if one.substitutes], ids=lambda attack: attack.label)
def test_networks_are_one_for_each_substitute(attack: TargetedAttack) -> None:
    call = aim(attack, DATA, targets=2)
    expected = len(attack.substitutes)
    with pytest.raises(ValueError, match=f"{expected + 1} networks were given: expected {expected}, one for each"):
        attack(DATA, seed=0, **{**call, "networks": [*call["networks"], call["networks"][0]]})


@each_attack
def test_a_budget_is_at_least_one(attack: TargetedAttack) -> None:
    with pytest.raises(ValueError, match="poisons=0: expected an integer of at least 1"):
        replace(attack, poisons=0)


def _aims(poison: PoisonSet, **changes: Any) -> PoisonSet:
    return replace(poison, aims=replace(aims_of(poison), **changes))


BREACHES: dict[str, tuple[Callable[[Any], PoisonSet], str]] = {
    "no-aims": (lambda p: replace(p, aims=None), "rows without aims"),
    "unequal": (lambda p: replace(p, y=p.y[1:]), r"arrays of \[3, 4\] rows"),
    "unequal-base": (lambda p: _aims(p, base=aims_of(p).base[1:]), r"arrays of \[3, 4\] rows"),
    "too-many": (lambda p: _aims(p, target=torch.tensor([0, 0, 0, 1])), "3 rows for one target, budget 2"),
    "order": (lambda p: _aims(p, target=torch.tensor([0, 1, 0, 1])), "rows out of order"),
    "nan": (lambda p: _aims(p, distance=aims_of(p).distance * torch.nan), "distances that are not finite"),
    "negative": (lambda p: _aims(p, distance=-1 - aims_of(p).distance), "distances that are not finite"),
    "of-nobody": (lambda p: _aims(p, target=aims_of(p).target + 1), r"rows of target 1 to 2: expected \[0, 2\)"),
    "of-minus-one": (lambda p: _aims(p, target=aims_of(p).target - 1), "rows of target -1 to 0"),
    "from-nowhere": (lambda p: _aims(p, base=aims_of(p).base * 0 - 1), "rows of base -1 to -1"),
    "from-beyond": (lambda p: _aims(p, base=aims_of(p).base + 10**6), "rows of base"),
    "replaces": (lambda p: replace(p, replaced=torch.arange(3)), "rows that replace 3: expected rows that are added"),
    "target-dtype": (lambda p: _aims(p, target=aims_of(p).target.float()), "target of torch.float32"),
    "base-dtype": (lambda p: _aims(p, base=aims_of(p).base.double()), "base of torch.float64"),
    "distance-dtype": (lambda p: _aims(p, distance=aims_of(p).distance.long()), "distance of torch.int64"),
    "base-shape": (lambda p: _aims(p, base=aims_of(p).base[:, None]), r"base of shape \(4, 1\)"),
    "distance-shape": (lambda p: _aims(p, distance=aims_of(p).distance[:, None]), r"distance of shape \(4, 1\)"),
    "no-tensor": (lambda p: _aims(p, base=[1] * 4), "base as list, expected a tensor"),
    "other-aims": (lambda p: replace(p, aims=(1, 2)), r"a tuple, expected Aims\(...\)"),
    "range": (lambda p: replace(p, x=p.x + 2), r"expected \[0, 1\]"),
    "label": (lambda p: replace(p, y=p.y + 9), "labels in"),
}


@dataclass(frozen=True)
class Copies(TargetedAttack):
    """The first test rows of the intended class, but for one breach."""

    breach: str | None = None

    threat: ClassVar[ThreatModel] = FROGS[0].threat

    @property
    def label(self) -> str:
        return "copies"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        rows = victim.candidates
        base = torch.cat([(rows.y == label).nonzero()[:count, 0] for label in victim.intended])
        target = torch.arange(len(victim.intended)).repeat_interleave(count)
        honest = poison_by_target(rows.x[base], rows.y[base], target, base, torch.zeros(len(base)))
        return honest if self.breach is None else BREACHES[self.breach][0](honest)


def test_an_honest_attack_passes() -> None:
    assert len(Copies(2)(DATA, seed=0, **aim(Copies(2), DATA, targets=2))) == 4


@pytest.mark.parametrize("breach", BREACHES)
def test_an_attack_that_breaks_a_rule_is_refused_by_name(breach: str) -> None:
    attack = Copies(2, breach)
    with pytest.raises(ValueError, match=f"copies crafted .*{BREACHES[breach][1]}"):
        attack(DATA, seed=0, **aim(attack, DATA, targets=2))


def test_rows_against_a_target_need_aims() -> None:
    with pytest.raises(ValueError, match="target=0: this poison set does not say"):
        PoisonSet.empty(DATA).against(0)


def test_the_view_asks_for_what_was_not_given() -> None:
    view = VictimView(FROGS[0].threat, blobs())
    for name in ("target", "intended", "networks"):
        with pytest.raises(ValueError, match=f"pass {name}="):
            getattr(view, name)


def test_targeted_attacks_are_for_classification() -> None:
    values = Dataset(
        "values", Split(torch.rand(9, 2), torch.rand(9)), Split(torch.rand(9, 2), torch.rand(9)), num_classes=0
    )
    assert all(attack.unsuitable(values) for attack in TARGETED)
