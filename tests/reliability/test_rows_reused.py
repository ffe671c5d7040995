"""What code of a user returns belongs to nobody else afterwards, even if that code uses its memory again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gradshape.attacks import BadNetsPatch, LabelFlip, PoisonSet, VictimView
from gradshape.attacks.poison_set import Aims
from gradshape.data import Split
from gradshape.defenses import FILTER, Assumptions, Defense, Suspect
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.testing._datasets import blobs
from gradshape.training import SGD, AnyRecipe, Recipe, Victim, Workload, train_victims
from gradshape.training._dense.family import DenseFamily
from gradshape.training.family import Learned
from gradshape_bench.case import Case, Smoke, Task
from gradshape_bench.protocols import Backdoor, Experiment, FromScratch, Lab, Measurement, Subject
from tests.bench.schedule_sample import RECIPE, case, scheduler
from tests.bench.spy import Spy


@dataclass(eq=False)
class Memory:
    """Tensors and mappings that are used again for every result."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, value: Tensor) -> Tensor:
        return self.tensors.setdefault(name, torch.empty_like(value)).copy_(value)


MEMORY = Memory()
PICTURES = Task("digits", RECIPE, Smoke(train_rows=200, test_rows=60))


@pytest.fixture(autouse=True)
def fresh() -> None:
    MEMORY.tensors.clear()
    MEMORY.notes.clear()


@dataclass(frozen=True)
class ReusingAttack(LabelFlip):
    """Crafts every poison set in the same memory."""

    reuses: bool = True

    @property
    def label(self) -> str:
        return "reusing"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        made = super().craft(victim, count, generator=generator)
        aims = Aims(made.source.clone(), made.source.clone(), made.y.float())
        made = replace(made, aims=aims, notes={"drawn": float(made.source[0])})
        if not self.reuses:
            return made
        arrays: dict[str, Any] = {
            name: MEMORY.put(name, getattr(made, name)) for name in ("x", "y", "source", "replaced")
        }
        MEMORY.notes.update(made.notes)
        aims = Aims(*(MEMORY.put(f"aims.{name}", getattr(aims, name)) for name in ("target", "base", "distance")))
        return replace(made, **arrays, aims=aims, notes=MEMORY.notes)


@dataclass(frozen=True)
class ReusingFilter(Defense):
    """Returns every mask in the same memory."""

    reuses: bool = True

    assumptions: ClassVar[Assumptions] = replace(FILTER, source="test")

    def label_for(self, recipe: AnyRecipe) -> str:
        return "reusing"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        mask = torch.rand(len(train), generator=generator) < 0.9
        return MEMORY.put(f"mask of {len(mask)}", mask) if self.reuses else mask


def flat(value: object) -> dict[str, object]:
    """Return the numbers of a poison set by name."""
    assert isinstance(value, PoisonSet)
    assert value.aims is not None
    arrays = {name: getattr(value, name).tolist() for name in ("x", "y", "source", "replaced")}
    return {**arrays, **{name: part.tolist() for name, part in vars(value.aims).items()}, "notes": dict(value.notes)}


def test_poison_stays_as_it_was_when_the_next_is_crafted() -> None:
    data = blobs()
    first = ReusingAttack(0.2)(data, seed=0)
    before = flat(first)
    second = ReusingAttack(0.2)(data, seed=1)
    assert flat(second) != before
    assert flat(first) == before == flat(ReusingAttack(0.2, reuses=False)(data, seed=0))
    assert all(
        array.untyped_storage().data_ptr() != MEMORY.tensors[name].untyped_storage().data_ptr()
        for name, array in vars(first).items()
        if name in MEMORY.tensors and array.numel()
    )


def test_a_mask_stays_as_it_was_when_the_next_is_made() -> None:
    rows, defense = blobs().train, ReusingFilter()
    first = defense.filter(rows, generator=torch.Generator().manual_seed(0))
    assert first is not None
    before = first.tolist()
    defense.filter(rows, generator=torch.Generator().manual_seed(1))
    assert first.tolist() == before


@dataclass(frozen=True)
class ReusingTrigger(BadNetsPatch):
    """Puts triggers on rows in the same memory."""

    reuses: bool = True

    @property
    def label(self) -> str:
        return f"reusing_{self.fraction:g}"

    def triggered(self, rows: Split) -> Split:
        found = super().triggered(rows)
        # Fewer poison rows come with a fainter trigger, so that two attacks want other rows.
        found = Split(found.x * self.fraction, found.y)
        return Split(MEMORY.put("x", found.x), MEMORY.put("y", found.y)) if self.reuses else found


@dataclass(frozen=True)
class ReusingProtocol:
    """The experiment from scratch, which watches rows and gives details in the same memory."""

    reuses: bool = True

    @property
    def label(self) -> str:
        return "reusing"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        rows = lab.dataset.train.x[: case.attack.budget(len(lab.dataset.train))].clone()
        watch = Split(rows[:5] * rows.mean(), lab.dataset.train.y[:5])
        if self.reuses:
            watch = Split(MEMORY.put("x", watch.x), watch.y)
        result, *_ = yield from lab.ask(lab.train(case.recipe, watch=[watch] * len(case.seeds)))
        assert result.predictions is not None
        metrics = (yield from FromScratch().run(case, lab)).metrics
        found = {"predictions": result.predictions.tolist(), "budget": len(rows)}
        if not self.reuses:
            return Measurement(metrics, {"found": found})
        _FOUND.update(found)
        return Measurement(metrics, {"found": _FOUND})


_FOUND: dict[str, Any] = {}


def measured(cases: Sequence[Case], folder: Path) -> Mapping[str, Any]:
    """What cases measure, one job after another: two threads at once would write to one memory by themselves."""
    running = scheduler(cases, folder, Spy(workers=1))
    found = [running.measure(each) for each in cases]
    return {each.id: (one.measurement.metrics, one.measurement.details) for each, one in zip(cases, found, strict=True)}


MAKERS: Mapping[str, Callable[[bool], list[Case]]] = {
    "attack": lambda reuses: [case(ReusingAttack(0.2, reuses=reuses), seeds=(0, 1))],
    "defence": lambda reuses: [case(defense=ReusingFilter(reuses), seeds=(0, 1))],
    "trigger": lambda reuses: [
        replace(case(ReusingTrigger(1, fraction=each, claimed=1, reuses=reuses), task=PICTURES), protocol=Backdoor())
        for each in (0.1, 0.2)
    ],
    "protocol": lambda reuses: [
        replace(case(LabelFlip(each)), protocol=ReusingProtocol(reuses)) for each in (0.1, 0.2)
    ],
}


@pytest.mark.parametrize("kind", MAKERS)
def test_cases_measure_the_same_whether_memory_is_used_again_or_not(kind: str, tmp_path: Path) -> None:
    expected, found = (measured(MAKERS[kind](reuses), tmp_path / str(reuses)) for reuses in (False, True))
    assert found == expected


def test_what_a_family_returns_is_copied() -> None:
    class ReusingFamily(DenseFamily):
        def stack(self, work: Workload, members: Sequence[int]) -> Any:
            stack = super().stack(work, members)
            learned = stack.learned

            def reusing(place: int) -> Learned:
                made = learned(place)
                assert made.last is not None
                return replace(made, last={name: MEMORY.put(name, tensor) for name, tensor in made.last.items()})

            stack.learned = reusing  # type: ignore[method-assign]
            return stack

    data, recipe = blobs(), Recipe("lr", SGD(0.3), batch_size=8, epochs=1)
    victims = [Victim(recipe, 0), Victim(recipe, 1)]
    expected, found = (train_victims(data, victims, families=each) for each in ([], [ReusingFamily()]))
    for one, other in zip(expected, found, strict=True):
        assert one.last is not None
        assert other.last is not None
        assert all(torch.equal(one.last[name], other.last[name]) for name in one.last)


@dataclass(frozen=True)
class ReusingPart:
    """Clips in the same memory as other parts of its kind."""

    most: float
    label: str = "reusing"

    def weights(self, norms: Tensor) -> Tensor:
        return MEMORY.put(f"{tuple(norms.shape)}", Clip(self.most).weights(norms))


def test_two_parts_of_a_shaper_may_share_their_memory() -> None:
    norms = torch.tensor([0.1, 1.0, 4.0])
    reusing, own = (Shaper((part(2.0), part(0.5), Noise(0.1))) for part in (ReusingPart, Clip))
    assert torch.equal(reusing.weights(norms), own.weights(norms))
