"""What holds of every attack, and that no attack gets away with breaking it."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gradshape import _digest, attacks
from gradshape.attacks import (
    Attack,
    BullseyePolytope,
    ConvexPolytope,
    DictionaryAttack,
    Knowledge,
    KohKkt,
    KohMinMax,
    LabelFlip,
    NoAttack,
    PoisonFrogs,
    PoisonSet,
    ProportionalAttack,
    TargetedAttack,
    ThreatModel,
    VictimView,
)
from gradshape.testing import Check, attack_checks
from gradshape.testing.attack import AttackTrial, suitable
from gradshape.training import SGD, Recipe
from tests.attacks.attacks import ATTACKS, DATASETS
from tests.training.samples import blobs

each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label)
RECIPE = Recipe("lr", SGD(0.1), batch_size=20, epochs=1)
# These draw nothing: every seed gives the same poison.
SEEDLESS: tuple[type[Attack], ...] = (
    DictionaryAttack,
    KohKkt,
    KohMinMax,
    PoisonFrogs,
    ConvexPolytope,
    BullseyePolytope,
)


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=f"{check.subject}-{check}") for attack in ATTACKS for check in attack_checks(attack)],
)
def test_every_attack_keeps_its_promises(check: Check) -> None:
    check()


def test_every_attack_is_tried() -> None:
    public = {value for value in vars(attacks).values() if isinstance(value, type) and issubclass(value, Attack)}
    bases = {Attack, ProportionalAttack, TargetedAttack}
    assert {type(attack) for attack in ATTACKS} == public - bases


@each_attack
def test_attacks_draw_unless_they_are_known_not_to(attack: Attack) -> None:
    name, dataset = next(iter(suitable(attack).items()))
    trial = AttackTrial(attack, name, dataset)
    assert trial.draws == (trial.count > 0 and not isinstance(attack, SEEDLESS))


@each_attack
def test_it_says_where_it_is_published(attack: Attack) -> None:
    assert (attack.threat.source == "-") == isinstance(attack, NoAttack)


def test_labels_are_distinct() -> None:
    assert len({attack.label for attack in ATTACKS}) == len(ATTACKS)


def test_other_attacks_have_other_names() -> None:
    assert len(set(ATTACKS)) == len({_digest.name(attack) for attack in ATTACKS}) == len(ATTACKS)


def test_no_poison_is_empty_and_fits_the_data() -> None:
    poison = PoisonSet.empty(DATASETS["pictures"])
    assert len(poison) == len(poison.rows) == len(poison.replaced) == 0
    assert poison.x.shape == (0, 1, 3, 2)
    assert (poison.x.dtype, poison.y.dtype) == (torch.float32, torch.int64)


def _threat(
    training_data: Knowledge = Knowledge.NONE,
    algorithm: Knowledge = Knowledge.NONE,
    parameters: Knowledge = Knowledge.NONE,
) -> ThreatModel:
    return replace(LabelFlip.threat, training_data=training_data, algorithm=algorithm, parameters=parameters)


DATA = blobs(rows=30)
STATE = {"weight": torch.ones(1)}


def _view(threat: ThreatModel) -> VictimView:
    return VictimView(threat, DATA, recipe=RECIPE, parameters=STATE)


@pytest.mark.parametrize(
    ("knowledge", "look"),
    [
        ("training_data", lambda view: view.train),
        ("algorithm", lambda view: view.recipe),
        ("parameters", lambda view: view.parameters),
    ],
    ids=["training-data", "algorithm", "parameters"],
)
def test_the_view_shows_what_is_granted_and_nothing_else(knowledge: str, look: Callable[[VictimView], object]) -> None:
    assert look(_view(_threat(**{knowledge: Knowledge.FULL}))) is not None
    assert look(_view(_threat(**{knowledge: Knowledge.EITHER}))) is not None
    with pytest.raises(PermissionError, match="threat model grants no knowledge"):
        look(_view(_threat(**{knowledge: Knowledge.NONE})))


def test_the_view_asks_for_what_is_granted_but_was_not_given() -> None:
    view = VictimView(_threat(algorithm=Knowledge.FULL, parameters=Knowledge.FULL), DATA)
    with pytest.raises(ValueError, match="recipe="):
        _ = view.recipe
    with pytest.raises(ValueError, match="parameters="):
        _ = view.parameters


def test_shape_and_classes_are_always_known() -> None:
    assert (_view(_threat()).input_shape, _view(_threat()).num_classes) == ((5,), 3)


COUNT = 6


def _ids(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


BREACHES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "too-few": (lambda p: PoisonSet(p.x[1:], p.y[1:], source=p.source[1:], replaced=p.replaced), "5 rows, budget 6"),
    "too-many": (
        lambda p: PoisonSet(p.x.repeat(2, 1), p.y.repeat(2), source=p.source.repeat(2), replaced=p.replaced),
        "12 rows, budget 6",
    ),
    "unequal-x": (lambda p: replace(p, x=p.x[1:]), "rows, budget 6"),
    "unequal-source": (lambda p: replace(p, source=p.source[1:]), "rows, budget 6"),
    "shape": (lambda p: replace(p, x=p.x[:, 1:]), r"rows of shape \(4,\), expected \(5,\)"),
    "x-dtype": (lambda p: replace(p, x=p.x.double()), "x of torch.float64"),
    "y-dtype": (lambda p: replace(p, y=p.y.int()), "y of torch.int32"),
    "source-dtype": (lambda p: replace(p, source=p.source.float()), "source of torch.float32"),
    "replaced-dtype": (lambda p: replace(p, replaced=torch.zeros(1)), "replaced of torch.float32"),
    "nan": (lambda p: replace(p, x=p.x * math.nan), "not finite"),
    "infinite": (lambda p: replace(p, x=p.x / 0), "not finite"),
    "negative": (lambda p: replace(p, x=p.x - 1), r"expected \[0, 1\]"),
    "above-1": (lambda p: replace(p, x=p.x + 1.5), r"expected \[0, 1\]"),
    "label-low": (lambda p: replace(p, y=p.y - 3), r"labels in .* expected \[0, 3\)"),
    "label-high": (lambda p: replace(p, y=p.y + 3), r"labels in .* expected \[0, 3\)"),
    "source-low": (lambda p: replace(p, source=p.source - 99), r"source ids outside \[-1, 30\)"),
    "source-high": (lambda p: replace(p, source=p.source + 30), r"source ids outside \[-1, 30\)"),
    "replaced-low": (lambda p: replace(p, replaced=_ids(-1)), r"replaced ids .* \[0, 30\)"),
    "replaced-high": (lambda p: replace(p, replaced=_ids(30)), r"replaced ids .* \[0, 30\)"),
    "replaced-twice": (lambda p: replace(p, replaced=_ids(2, 2)), "not distinct"),
    "replaces-more": (lambda p: replace(p, replaced=torch.arange(7)), "6 rows that replace 7"),
    "y-shape": (lambda p: replace(p, y=p.y[:, None]), r"y of shape \(6, 1\), expected \(n,\)"),
    "source-shape": (lambda p: replace(p, source=p.source[:, None]), r"source of shape \(6, 1\)"),
    "replaced-shape": (lambda p: replace(p, replaced=_ids(0, 1)[:, None]), r"replaced of shape \(2, 1\)"),
    "replaced-one": (lambda p: replace(p, replaced=torch.tensor(1)), r"replaced of shape \(\), expected \(n,\)"),
    "x-one": (lambda p: replace(p, x=torch.tensor(1.0)), r"x of shape \(\), expected \(n, \*shape\)"),
    "x-array": (lambda p: replace(p, x=p.x.numpy()), "x as ndarray, expected a tensor"),
    "y-list": (lambda p: replace(p, y=p.y.tolist()), "y as list, expected a tensor"),
    "nothing": (lambda p: None, r"a NoneType, expected PoisonSet\(...\)"),
    "tuple": (lambda p: (p.x, p.y), r"a tuple, expected PoisonSet\(...\)"),
    "notes-text": (lambda p: replace(p, notes={"bound": "high"}), "a note bound='high', expected a finite number"),
    "notes-nan": (lambda p: replace(p, notes={"bound": math.nan}), "a note bound=nan, expected a finite number"),
    "notes-huge": (lambda p: replace(p, notes={"bound": 10**400}), "a note bound=10.*, expected a finite number"),
    "notes-name": (lambda p: replace(p, notes={3: 1.0}), "a note called 3, expected a text"),
    "notes-none": (lambda p: replace(p, notes=None), "notes NoneType, expected a mapping"),
}


@dataclass(frozen=True)
class Copies(Attack):
    """Honest copies of rows, but for one breach."""

    breach: str | None = None
    count: int = COUNT

    threat: ClassVar[ThreatModel] = LabelFlip.threat

    @property
    def label(self) -> str:
        return "copies"

    def budget(self, train_rows: int) -> int:
        return self.count

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        source = torch.randint(len(victim.train), (count,), generator=generator)
        honest = PoisonSet(victim.train.x[source], victim.train.y[source], source=source, replaced=_ids(0, 1))
        if self.breach is None:
            return honest
        crafted: PoisonSet = BREACHES[self.breach][0](honest)
        return crafted


def test_an_honest_attack_passes() -> None:
    poison = Copies()(DATA, seed=0)
    assert len(poison) == COUNT
    assert poison.replaced.tolist() == [0, 1]


@dataclass(frozen=True)
class Noting(Copies):
    """Notes numbers of several types."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        notes: Any = {"array": np.float32(0.5), "whole": np.int64(3), "tensor": torch.tensor(0.25), "plain": 4}
        return replace(super().craft(victim, count, generator=generator), notes=notes)


def test_notes_are_plain_numbers_whether_they_come_from_the_cache_or_not() -> None:
    notes = dict(Noting()(DATA, seed=0).notes)
    assert notes == {"array": 0.5, "whole": 3.0, "tensor": 0.25, "plain": 4}
    assert json.loads(json.dumps(notes)) == notes


@pytest.mark.parametrize("breach", BREACHES)
def test_an_attack_that_breaks_a_rule_is_refused_by_name(breach: str) -> None:
    with pytest.raises(ValueError, match=f"copies crafted .*{BREACHES[breach][1]}"):
        Copies(breach)(DATA, seed=0)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="copies: budget -1"):
        Copies(count=-1)(DATA, seed=0)


def test_without_a_budget_nothing_is_crafted() -> None:
    assert len(Copies("nan", count=0)(DATA, seed=0)) == 0


def test_an_attack_without_intensity_is_its_own_family() -> None:
    assert Copies().family == "copies"
