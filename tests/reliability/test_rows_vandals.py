"""A case beside code that writes to what it is shown has the numbers that it has alone, to the last digit."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.data import Dataset
from gradshape.defenses import GradientShaping, PerfectFilter
from gradshape.shaping import Clip, Shaper
from gradshape.testing._datasets import blobs
from gradshape.training import SGD, Fit, Recipe, TrainingResult, Victim, Workload, train_victims
from gradshape.training._dense.family import DenseFamily
from gradshape_bench.case import Case, Task
from gradshape_bench.protocols import Backdoor
from tests.bench.schedule_sample import TASK, case, scheduler
from tests.bench.spy import Spy
from tests.reliability.vandals import (
    DEEDS,
    HARMLESS,
    VandalAttack,
    VandalFilter,
    VandalInAdvance,
    VandalPart,
    VandalProtocol,
    VandalTrigger,
    register_vandals,
)

# Trains on clean rows, on poison, and on what a filter leaves that knows the clean rows.
HONEST = [case(), case(defense=PerfectFilter())]
WRITERS = sorted(DEEDS.keys() - {HARMLESS})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register_vandals(monkeypatch)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the honest cases measure without anybody else."""
    running = scheduler(HONEST, tmp_path_factory.mktemp("alone"))
    return {each.id: running.measure(each).measurement.metrics for each in HONEST}


def beside(vandals: Sequence[Case], folder: Path, *, workers: int = 1) -> tuple[dict[str, Any], list[str]]:
    """What the honest cases measure after the vandals, and what the vandals' cases raised."""
    running, raised = scheduler([*vandals, *HONEST], folder, Spy(workers=workers)), []
    for vandal in vandals:
        try:
            running.measure(vandal)
        except Exception as error:
            raised.append(f"{type(error).__name__}: {error}")
    return {each.id: running.measure(each).measurement.metrics for each in HONEST}, raised


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deed", WRITERS)
def test_an_attack_is_named_and_harms_nobody(deed: str, workers: int, alone: dict[str, Any], tmp_path: Path) -> None:
    found, raised = beside([case(VandalAttack(0.1, deed=deed))], tmp_path, workers=workers)
    axis = "y" if deed == "labels" else "x"
    assert raised == [
        f"ValueError: attack vandal_{deed} wrote to train.{axis}, which it was shown: expected it to write to copies "
        "of its own"
    ]
    assert found == alone


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("deed", WRITERS)
def test_a_defence_is_named_and_harms_nobody(deed: str, clean: bool, alone: dict[str, Any], tmp_path: Path) -> None:
    vandal = VandalFilter(deed, clean)
    found, [said] = beside([case(defense=vandal)], tmp_path)
    assert said.startswith(f"ValueError: {vandal!r} wrote to {'clean.' if clean else 'the rows that it was shown'}")
    assert found == alone


@pytest.mark.parametrize("to_results", [False, True])
def test_a_protocol_is_named_and_harms_nobody(to_results: bool, alone: dict[str, Any], tmp_path: Path) -> None:
    protocol = VandalProtocol("torch", to_results)
    # Its trainings are those of the honest cases.
    vandal = replace(HONEST[0], protocol=protocol)
    found, [said] = beside([vandal], tmp_path)
    place = r"result 0.accuracy" if to_results else "train.x"
    assert said.startswith(f"ValueError: protocol {protocol.label} wrote to {place}, which it was shown")
    assert found == alone


@pytest.mark.parametrize(
    "vandal",
    [
        lambda: case(VandalAttack(0.1, deed=HARMLESS)),
        lambda: case(VandalInAdvance(0.1, deed="numpy")),
        lambda: case(VandalInAdvance(0.1, deed=HARMLESS)),
        lambda: case(defense=GradientShaping(Shaper((VandalPart(),)))),
        lambda: case(task=Task("two_moons", Fit("test_vandal"))),
        lambda: case(task=Task("two_moons", replace(TASK.recipe, model="test_shifts"))),
        lambda: replace(case(VandalTrigger(1, fraction=0.1, claimed=1)), protocol=Backdoor()),
    ],
    ids=["gradients", "hasty", "hasty-gradients", "part", "estimator", "network", "trigger"],
)
def test_who_spoils_its_own_copies_harms_nobody(
    vandal: Callable[[], Case], alone: dict[str, Any], tmp_path: Path
) -> None:
    found, _ = beside([vandal()], tmp_path)
    assert found == alone


def shifted(model: str, data: Dataset, shaper: Shaper, order_seed: int | None) -> list[TrainingResult] | str:
    """What two victims learn, or why they are refused."""
    recipe = Recipe(model, SGD(0.3), batch_size=8, epochs=3, shaper=shaper)
    try:
        return train_victims(data, [Victim(recipe, seed, order_seed=order_seed, watch=data.test.x) for seed in (0, 1)])
    except (ValueError, RuntimeError) as error:
        return str(error)


@pytest.mark.parametrize("order_seed", [None, 7])
@pytest.mark.parametrize("shaper", [Shaper(), Shaper((Clip(0.5),))], ids=["plain", "clipped"])
@pytest.mark.parametrize("kind", ["", "_dropout"])
def test_a_network_that_writes_to_its_input_trains_as_if_it_did_not_or_is_refused(
    kind: str, shaper: Shaper, order_seed: int | None
) -> None:
    data = blobs()
    expected, found = (shifted(f"test_{name}{kind}", data, shaper, order_seed) for name in ("shifted", "shifts"))
    assert not isinstance(expected, str)
    if isinstance(found, str):
        assert not shaper.is_vanilla
        assert re.search(r"writes to its input|Please clone\(\) the tensor", found)
        return
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.accuracy, other.accuracy)
        assert one.predictions is not None
        assert other.predictions is not None
        assert torch.equal(one.predictions, other.predictions)
    assert Dataset("blobs", data.train, data.test, num_classes=3).fingerprint == blobs().fingerprint


def test_a_family_is_named_and_harms_nobody() -> None:
    class VandalFamily(DenseFamily):
        def stack(self, work: Workload, members: Sequence[int]) -> Any:
            work.dataset.test.y.numpy().fill(0)
            return super().stack(work, members)

    data, family = blobs(), VandalFamily()
    fingerprint = data.fingerprint
    victims = [Victim(Recipe("lr", SGD(0.3), batch_size=8, epochs=1), 0, private=data.test)]
    with pytest.raises(ValueError, match=r"^the family VandalFamily wrote to test\.y, which it was shown"):
        train_victims(data, victims, families=[family])
    assert Dataset("blobs", data.train, data.test, num_classes=3).fingerprint == fingerprint
