import sys
import types
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import gradshape
from gradshape.attacks import LabelFlip, PoisonSet
from gradshape.data import Dataset, load
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import (
    SGD,
    Adam,
    GradientProbe,
    Layers,
    OptimizerState,
    Recipe,
    Scoring,
    TrainedModel,
    stack_key,
)
from gradshape_bench.job_names import code_digest
from gradshape_bench.jobs import Craft, Filter, Job, Train

RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)
MOONS = load("two_moons")


def poison(seed: int = 0) -> PoisonSet:
    return LabelFlip(0.1)(MOONS, seed=seed)


def train(**changes: Any) -> Train:
    values: dict[str, Any] = {"dataset": MOONS, "device": "cpu", "recipe": RECIPE, "seed": 0}
    return Train(**values | changes)


def craft(**changes: Any) -> Craft:
    values: dict[str, Any] = {"dataset": MOONS, "device": "cpu", "attack": LabelFlip(0.1), "recipe": None, "seed": 0}
    return Craft(**values | changes)


def filtering(**changes: Any) -> Filter:
    values: dict[str, Any] = {
        "dataset": MOONS,
        "device": "cpu",
        "defense": NoDefense(),
        "recipe": None,
        "poison": None,
        "seed": 0,
    }
    return Filter(**values | changes)


def changed_dataset() -> Dataset:
    return MOONS.subset(train=600)


MASK = torch.ones(700, dtype=torch.bool)
MASK[3] = False
STATE = {"head.weight": torch.rand(2, 2), "head.bias": torch.rand(2)}
MEMORY = OptimizerState(7, (STATE, STATE))

CHANGES: list[tuple[Any, str, Any]] = [
    (train, "dataset", changed_dataset()),
    (train, "recipe", replace(RECIPE, model="mlp")),
    (train, "recipe", replace(RECIPE, optimizer=Adam(0.06))),
    (train, "recipe", replace(RECIPE, optimizer=SGD(0.05))),
    (train, "recipe", replace(RECIPE, batch_size=65)),
    (train, "recipe", replace(RECIPE, epochs=3)),
    (train, "recipe", RECIPE.with_shaper(Clip(1) | Noise(0.1))),
    (train, "seed", 1),
    (train, "poison", poison()),
    (train, "keep", MASK),
    (train, "watch", MOONS.test),
    (train, "initial", STATE),
    (train, "keep_states", True),
    (train, "probe", GradientProbe()),
    (train, "intended", torch.tensor([1])),
    (train, "order_seed", 0),
    (train, "initial_optimizer", MEMORY),
    (train, "keep_optimizer", True),
    (train, "scoring", Scoring.AT_END),
    (craft, "dataset", changed_dataset()),
    (craft, "attack", LabelFlip(0.2)),
    (craft, "attack", LabelFlip(0.1, feasible_quantile=0.9)),
    (craft, "recipe", RECIPE),
    (craft, "seed", 1),
    (craft, "target", MOONS.test),
    (craft, "intended", torch.tensor([1])),
    (craft, "networks", (TrainedModel(RECIPE, STATE),)),
    (filtering, "dataset", changed_dataset()),
    (filtering, "defense", GradientShaping(Clip(1))),
    (filtering, "recipe", RECIPE),
    (filtering, "poison", poison()),
    (filtering, "seed", 1),
    (filtering, "targets", MOONS.test),
    (filtering, "model", TrainedModel(RECIPE, STATE)),
]


@pytest.mark.parametrize(
    ("make", "field", "value"),
    CHANGES,
    ids=[f"{make.__name__}-{field}-{i}" for i, (make, field, _) in enumerate(CHANGES)],
)
def test_key_depends_on_every_field(make: Any, field: str, value: Any) -> None:
    assert make(**{field: value}).key != make().key


@pytest.mark.parametrize("make", [train, craft, filtering])
def test_every_field_but_the_device_is_among_the_changes(make: Any) -> None:
    changed = {field for maker, field, _ in CHANGES if maker is make}
    assert {field.name for field in fields(make())} == changed | {"device"}


def test_key_depends_on_the_shapers_numbers() -> None:
    shapers = [Clip(4) | Noise(0.1), Clip(4) | Noise(0.2), Clip(2) | Noise(0.1)]
    assert len({train(recipe=RECIPE.with_shaper(shaper)).key for shaper in shapers}) == 3


def test_key_depends_on_which_poison() -> None:
    assert train(poison=poison(0)).key != train(poison=poison(1)).key


def test_key_depends_on_which_state_is_trained_from() -> None:
    other = {name: value.clone() for name, value in STATE.items()}
    assert train(initial=STATE).key == train(initial=other).key
    other["head.bias"][0] += 1
    assert train(initial=STATE).key != train(initial=other).key


def test_key_depends_on_what_the_optimizer_remembers() -> None:
    other = {name: value + 1 for name, value in STATE.items()}
    memories = [MEMORY, OptimizerState(8, (STATE, STATE)), OptimizerState(7, (STATE, other)), OptimizerState(7)]
    assert len({train(initial_optimizer=memory).key for memory in memories}) == 4
    copied = {name: value.clone() for name, value in STATE.items()}
    assert train(initial_optimizer=OptimizerState(7, (copied, copied))).key == train(initial_optimizer=MEMORY).key


def test_key_depends_on_which_network_is_crafted_on() -> None:
    other = {name: value + 1 for name, value in STATE.items()}
    networks = [(), (TrainedModel(RECIPE, STATE),), (TrainedModel(RECIPE, other),)]
    assert len({craft(networks=of_craft).key for of_craft in networks}) == 3


def test_key_depends_on_what_is_probed() -> None:
    probes = [GradientProbe(), GradientProbe(Layers.ALL), GradientProbe(placebo=3), GradientProbe(accuracy=False)]
    assert len({train(probe=probe).key for probe in probes}) == 4


def test_key_depends_on_which_rows_are_kept() -> None:
    assert train(keep=MASK).key != train(keep=~MASK).key


def test_key_depends_on_the_kind_of_device_only() -> None:
    assert train(device="cuda:0").key == train(device="cuda:1").key
    assert train(device="cuda").key != train(device="cpu").key


def test_key_depends_on_the_kind_of_job() -> None:
    # Same fields, same values.
    @dataclass(frozen=True, eq=False)
    class Other(Craft):
        pass

    assert Other(MOONS, "cpu", LabelFlip(0.1), recipe=None, seed=0).key != craft().key


@pytest.mark.parametrize("make", [train, craft, filtering])
def test_key_depends_on_the_librarys_source(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make().key
    monkeypatch.setattr(code_digest, "library_source", lambda: "another")
    assert make().key != before


def test_key_depends_on_torchs_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = train().key
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    assert train().key != before


@pytest.mark.parametrize("make", [train, craft, filtering])
def test_equal_content_has_an_equal_key(make: Any) -> None:
    other: Job[Any] = make(dataset=load("two_moons"))
    assert other is not make()
    assert other.key == make().key


def test_equal_poison_has_an_equal_key() -> None:
    assert train(poison=poison()).key == train(poison=poison()).key


def test_training_on_no_poison_is_the_clean_training() -> None:
    assert train(poison=PoisonSet.empty(MOONS)).key == train().key


def test_key_does_not_depend_on_the_data_sets_name() -> None:
    assert train(dataset=replace(MOONS, name="other")).key == train().key


_ATTACK = """
from dataclasses import dataclass
from gradshape.attacks import LabelFlip

@dataclass(frozen=True)
class Foreign(LabelFlip):
    pass
"""


def _foreign(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An attack of a module outside the library with this source."""
    path = folder / "foreign_attack.py"
    path.write_text(text)
    module = types.ModuleType("foreign_attack")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "foreign_attack", module)
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module.Foreign(0.1)


def test_key_depends_on_the_source_of_a_foreign_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for name, text in (("old", _ATTACK), ("same", _ATTACK), ("new", _ATTACK + "# changed\n")):
        (tmp_path / name).mkdir()
        keys.append(craft(attack=_foreign(tmp_path / name, text, monkeypatch)).key)
    assert keys[0] == keys[1] != keys[2]


def test_librarys_source_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = code_digest.library_source.__wrapped__
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.py").write_text("a = 1")
    monkeypatch.setattr(gradshape, "__file__", str(tmp_path / "__init__.py"))
    found = [source(), source()]
    (tmp_path / "part" / "a.py").write_text("a = 2")
    found.append(source())
    (tmp_path / "part" / "a.py").rename(tmp_path / "part" / "b.py")
    found.append(source())
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_attack_that_knows_no_algorithm_is_crafted_once_for_all_recipes() -> None:
    others = [RECIPE, RECIPE.with_shaper(GradientShaping(Clip(1)).shaper)]
    assert len({Craft.against(MOONS, "cpu", LabelFlip(0.1), recipe=recipe, seed=0).key for recipe in others}) == 1


@dataclass(frozen=True)
class Informed(LabelFlip):
    """Knows the learning algorithm."""

    threat = replace(LabelFlip.threat, algorithm=LabelFlip.threat.training_data)


def test_attack_that_knows_the_algorithm_is_crafted_for_each_recipe() -> None:
    others = [RECIPE, RECIPE.with_shaper(GradientShaping(Clip(1)).shaper)]
    assert len({Craft.against(MOONS, "cpu", Informed(0.1), recipe=recipe, seed=0).key for recipe in others}) == 2


def test_clean_victim_trains_on_all_rows_and_no_others() -> None:
    victim = train().victim
    assert (victim.private, victim.removed) == (None, None)


def test_added_poison_is_private() -> None:
    victim = train(poison=poison()).victim
    assert victim.private is not None
    assert torch.equal(victim.private.x, poison().x)
    assert victim.removed is None


def test_replaced_rows_are_removed() -> None:
    added = poison()
    replacing = PoisonSet(added.x, added.y, source=added.source, replaced=added.source)
    removed = train(poison=replacing).victim.removed
    assert removed is not None
    assert torch.equal(removed, added.source.sort().values)


def test_mask_removes_train_rows_and_poison_rows() -> None:
    keep = torch.ones(770, dtype=torch.bool)
    keep[[5, 700, 769]] = False
    victim = train(poison=poison(), keep=keep).victim
    assert victim.removed is not None
    assert victim.removed.tolist() == [5]
    assert victim.private is not None
    assert torch.equal(victim.private.y, poison().y[1:-1])


def test_a_training_by_itself_gives_what_it_gives_beside_others() -> None:
    jobs = [train(seed=seed) for seed in range(3)]
    together = dict(Train.do_together(jobs, max_memory=1 << 28, heartbeat=lambda _: None))
    assert list(together) == jobs
    for job in jobs:
        alone = job.do(lambda _: None)
        assert torch.equal(alone.result.accuracy, together[job].result.accuracy)
        assert alone.seconds > 0


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (train(), "training lr (seed 0)"),
        (train(recipe=RECIPE.with_shaper(GradientShaping(Clip(1)).shaper), seed=3), "training lr with c1 (seed 3)"),
        (craft(seed=2), "crafting label_flip_10 (seed 2)"),
        (filtering(), "filtering by NoDefense (seed 0)"),
    ],
)
def test_a_job_says_what_it_is(job: Job[Any], words: str) -> None:
    assert job.description == words


def test_trainings_of_one_poison_and_seed_share_a_stack() -> None:
    clipped = RECIPE.with_shaper(GradientShaping(Clip(1)).shaper)
    assert train(poison=poison()).stack == train(poison=poison(), recipe=clipped).stack


@pytest.mark.parametrize(
    "other", [{"recipe": replace(RECIPE, epochs=3)}, {"dataset": changed_dataset()}, {"keep_states": True}]
)
def test_trainings_of_other_schedules_and_data_share_none(other: dict[str, Any]) -> None:
    assert train().stack != train(**other).stack


def test_retrained_victim_begins_with_the_given_state() -> None:
    assert train(initial=STATE).victim.initial is STATE
    assert train().victim.initial is None


def test_what_a_training_is_given_is_what_its_victim_gets() -> None:
    given = {
        "intended": torch.tensor([1]),
        "order_seed": 3,
        "initial_optimizer": MEMORY,
        "keep_optimizer": True,
        "scoring": Scoring.AT_END,
    }
    victim = train(initial=STATE, **given).victim
    assert {name: getattr(victim, name) for name in given} == given


def test_a_defence_is_told_the_base_model_if_it_knows_the_model() -> None:
    told = Filter.by(MOONS, "cpu", NoDefense(), recipe=RECIPE, poison=None, seed=0, model=TrainedModel(RECIPE, STATE))
    assert not NoDefense.assumptions.knows_model
    assert told.model is None
    knowing = replace(NoDefense.assumptions, knows_model=True)
    defense = NoDefense()
    object.__setattr__(defense, "assumptions", knowing)
    assert (
        Filter.by(MOONS, "cpu", defense, recipe=RECIPE, poison=None, seed=0, model=TrainedModel(RECIPE, STATE)).model
        is not None
    )


def test_probed_trainings_stand_alone() -> None:
    one, other = (train(probe=GradientProbe(), seed=seed) for seed in (0, 1))
    assert one.victim.probe == GradientProbe()
    assert len({one.stack, other.stack, train().stack}) == 3


def test_models_that_cannot_be_stacked_stand_alone() -> None:
    digits = load("digits_38")
    one, other = (train(dataset=digits, recipe=replace(RECIPE, model="cnn"), seed=seed) for seed in (0, 1))
    assert stack_key(digits, one.victim) is None
    assert one.stack != other.stack
