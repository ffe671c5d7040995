import json
from pathlib import Path

import pytest

from gradshape.attacks import Attack, LabelFlip, NoAttack
from gradshape.defenses import NoDefense
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.protocols import Clusters, Measurement
from tests.bench.spy import measured

TASK = Task("digits_38", Recipe("lr", Adam(0.05), batch_size=32, epochs=3))


def measure(tmp_path: Path, attack: Attack) -> Measurement:
    case = Case(TASK, attack, NoDefense(), scale=Scale.PAPER, seeds=(0, 1), protocol=Clusters())
    return measured(tmp_path, case)


def test_flipped_rows_are_many_and_as_far_out_as_the_other_class(tmp_path: Path) -> None:
    metrics = measure(tmp_path, LabelFlip(0.2)).metrics
    assert metrics["distinct_poisons"].value == LabelFlip(0.2).budget(285)
    assert 1 < metrics["remoteness"].value < 2


def test_picture_is_plain_and_whole(tmp_path: Path) -> None:
    found = measure(tmp_path, LabelFlip(0.2))
    picture = json.loads(json.dumps(found.details["picture"]))
    assert len(picture["clean"]) == 285
    assert len(picture["poison"]) == len(picture["poison_counts"]) == 57
    assert [kind["count"] for kind in picture["kinds"]] == [1, 1, 1, 1]
    assert all(len(bytes.fromhex(kind["pixels"])) == 64 and kind["shape"] == [1, 8, 8] for kind in picture["kinds"])


def test_no_poison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'no_attack' adds no poison"):
        measure(tmp_path, NoAttack())
