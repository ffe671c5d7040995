"""What a filter is shown, and what becomes of the rows that it keeps."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from gradshape.data import Split, load
from gradshape.defenses import Assumptions, Defense, DefenseKind, NoDefense
from gradshape.training import AnyRecipe
from gradshape_bench.jobs import Filter
from tests.bench.schedule_sample import FLIPS, case, scheduler
from tests.bench.spy import Spy

seen: list[Split] = []


@dataclass(frozen=True)
class DropLeft(Defense):
    """Drops the rows of the left third, and keeps what it was shown."""

    assumptions: ClassVar[Assumptions] = replace(NoDefense.assumptions, kind=DefenseKind.OUTLIER_REMOVAL)

    def label_for(self, recipe: AnyRecipe) -> str:
        return "drop_left"

    def keep(self, train: Split, *, generator: torch.Generator) -> Tensor:
        seen.append(train)
        return train.x[:, 0] > 1 / 3


@pytest.fixture
def filtered(tmp_path: Path) -> Spy:
    """The jobs of a filtered case."""
    seen.clear()
    engine = Spy()
    chosen = case(defense=DropLeft(), seeds=(0,))
    scheduler([chosen], tmp_path, engine).measure(chosen)
    return engine


def _sorted_rows(x: Tensor, y: Tensor) -> list[list[float]]:
    return sorted(torch.cat([x, y.unsqueeze(1).float()], dim=1).tolist())


def test_filter_sees_clean_rows_then_all_rows(filtered: Spy) -> None:
    train = load("two_moons").train
    (poison,) = (job.poison for job in filtered.done if isinstance(job, Filter) and job.poison is not None)
    assert [_sorted_rows(split.x, split.y) for split in sorted(seen, key=len)] == [
        _sorted_rows(train.x, train.y),
        _sorted_rows(torch.cat([train.x, poison.x]), torch.cat([train.y, poison.y])),
    ]


def test_filter_cannot_tell_poison_by_its_place(filtered: Spy) -> None:
    train = load("two_moons").train
    mixed = max(seen, key=len)
    clean = {tuple(row) for row in _sorted_rows(train.x, train.y)}
    rows = torch.cat([mixed.x, mixed.y.unsqueeze(1).float()], dim=1).tolist()
    poison = [place for place, row in enumerate(rows) if tuple(row) not in clean]
    # 70 poison rows among 770: in order they would be the last.
    assert min(poison) < 100
    assert sum(poison) / len(poison) == pytest.approx(385, abs=100)


def test_filter_gets_rows_and_nothing_else(filtered: Spy) -> None:
    held = {"x", "y", "fingerprint", "num_classes", "units", "_granted", "_assumed"}
    assert all(set(vars(split)) <= held for split in seen)
    assert not any(vars(split)["_granted"] for split in seen)


def test_filtered_rows_are_not_trained_on(filtered: Spy) -> None:
    train = load("two_moons").train
    victims = [job.victim for job in filtered.trained if job.keep is not None]
    assert len(victims) == 2
    for victim in victims:
        assert victim.removed is not None
        assert torch.equal(victim.removed, (train.x[:, 0] <= 1 / 3).nonzero().squeeze(1))
        assert victim.private is None or bool((victim.private.x[:, 0] > 1 / 3).all())


def test_filtered_poison_is_partly_kept(filtered: Spy) -> None:
    (victim,) = (job.victim for job in filtered.trained if job.poison is not None)
    assert victim.private is not None
    assert 0 < len(victim.private) < FLIPS[0].budget(700)


def test_vanilla_reference_is_not_filtered(filtered: Spy) -> None:
    (vanilla,) = (job for job in filtered.trained if job.keep is None)
    assert vanilla.victim.removed is None
