"""What the library computes depends neither on the state of the process nor on who has moved it."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape import _global_state, data, learners
from gradshape.attacks import Attack, DataDependentSteinhardt, KohMinMax, LabelFlip, PoisonSet, VictimView
from gradshape.data import Dataset, PoisonedRows, Split
from gradshape.defenses import Defense, rows_to_keep
from gradshape.testing._datasets import blobs, plane
from gradshape.testing.attack import AttackTrial, suitable
from gradshape.testing.defense import RECIPES, datasets
from gradshape.training import SGD, Adam, AnyRecipe, Fit, GradientProbe, Recipe, Victim, train_victims
from gradshape_bench.case import Task
from gradshape_bench.protocols import Experiment, Lab, Measurement, Subject, experiment
from tests.attacks.attacks import ATTACKS
from tests.bench.schedule_sample import TASK, case, scheduler
from tests.bench.spy import Spy
from tests.defenses.test_contract import DEFENSES
from tests.training.samples import ALL_SHAPERS, many_victims


@contextmanager
def moved() -> Iterator[None]:
    """As when code of a user in another thread has moved what it could."""
    with _global_state.restored():
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(99)
        np.random.seed(7)  # noqa: NPY002
        random.seed(3)
        yield


def plain(value: Any) -> Any:
    """Tensors as bytes, so that NaN is equal to NaN, and everything else as it is."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def the_same_when_moved(compute: Callable[[], Any]) -> bool:
    usual = plain(compute())
    with moved():
        return bool(plain(compute()) == usual)


PICTURES = blobs(rows=26, test=20, shape=(1, 4, 4), spread=0.4)
BLOBS = blobs()
OF_CLASSES = ("svm_linear", "svm_rbf", "logistic", "naive_bayes", "spambayes", "dp_logistic_objective")


def trained(recipe: AnyRecipe, dataset: Dataset, **named: Any) -> Callable[[], Any]:
    poison = Split(dataset.test.x[:3], dataset.test.y[:3])
    victims = [Victim(recipe, seed, poison, watch=dataset.test.x[:5], **named) for seed in range(2)]
    return lambda: train_victims(dataset, victims)


@pytest.mark.parametrize("shaper", ["vanilla", "clip-noise", "custom", "median", "layers-clip", "three-noises"])
@pytest.mark.parametrize("model", ["mlp1", "cnn", "cnn_dropout"])
def test_networks(model: str, shaper: str) -> None:
    recipe = Recipe(model, Adam(0.02), batch_size=6, epochs=2, shaper=ALL_SHAPERS[shaper])
    assert the_same_when_moved(trained(recipe, PICTURES))


@pytest.mark.parametrize("probe", [None, GradientProbe()], ids=["plain", "probed"])
def test_linear_networks_in_all_kinds_of_stacks(probe: GradientProbe | None) -> None:
    if probe is None:
        victims = many_victims(BLOBS, "lr", SGD(0.1, momentum=0.5))
        assert the_same_when_moved(lambda: train_victims(BLOBS, victims))
    else:
        assert the_same_when_moved(trained(Recipe("lr", SGD(0.1), batch_size=6, epochs=2), BLOBS, probe=probe))


@pytest.mark.parametrize("name", learners.names())
def test_estimators(name: str) -> None:
    if name.startswith("test_"):
        pytest.skip("an estimator of the tests, which breaks promises")
    task = blobs(classes=2) if name in OF_CLASSES else plane(rows=40, test=30)
    assert the_same_when_moved(trained(Fit(name), task))


# These take half a minute each; what they are made of is in the others, too.
SLOW = (DataDependentSteinhardt, KohMinMax)
QUICK = [attack for attack in ATTACKS if not isinstance(attack, SLOW)]


@pytest.mark.parametrize("attack", QUICK, ids=lambda attack: attack.label)
def test_attacks(attack: Attack) -> None:
    name, dataset = next(iter(suitable(attack).items()))
    usual = AttackTrial(attack, name, dataset)
    assert the_same_when_moved(usual.call)


@pytest.mark.parametrize("defense", DEFENSES, ids=repr)
def test_defences(defense: Defense) -> None:
    for dataset in datasets().values():
        recipe = RECIPES[int(dataset.regression)]
        if defense.unsuitable(dataset, recipe) is None:
            rows = PoisonedRows(dataset.train, Split(dataset.test.x[:4], dataset.test.y[:4]))
            known: dict[str, Any] = {"num_classes": dataset.num_classes, "recipe": recipe, "targets": dataset.test}
            assert the_same_when_moved(lambda: rows_to_keep(defense, rows, seed=0, **known)[0])  # noqa: B023


@pytest.mark.parametrize("name", [name for name in data.names() if data.info(name).embedded])
def test_data(name: str) -> None:
    assert the_same_when_moved(lambda: data.load(name))


@dataclass(frozen=True)
class Moves(LabelFlip):
    """Leaves the state of the process as it needed it."""

    @property
    def label(self) -> str:
        return "moves"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        poison = super().craft(victim, count, generator=generator)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(5)
        np.seterr(all="raise")
        return poison


@pytest.mark.parametrize("workers", [1, 2])
def test_a_case_beside_an_attack_that_moves_the_state(workers: int, tmp_path: Path) -> None:
    task = Task("two_moons", Recipe("mlp1", SGD(0.5), batch_size=64, epochs=2, shaper=ALL_SHAPERS["clip-noise"]))
    honest = [case(task=TASK), case(task=task)]
    alone = scheduler(honest, tmp_path / "alone")
    expected = {each.id: alone.measure(each).measurement.metrics for each in honest}
    before = _global_state.read()
    vandal = case(Moves(0.1))
    beside = scheduler([vandal, *honest], tmp_path / "beside", Spy(workers=workers))
    found = {each.id: beside.measure(each).measurement.metrics for each in (vandal, *honest)}
    assert {name: found[name] for name in expected} == expected
    assert _global_state.read() == before


@dataclass(frozen=True)
class Moving(LabelFlip):
    """Moves what it can while it says what it can be made on."""

    def unsuitable(self, dataset: Dataset) -> str | None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(99)
        np.random.seed(7)  # noqa: NPY002
        random.seed(3)
        return super().unsuitable(dataset)


@dataclass(frozen=True)
class Asking:
    """Asks the attack what it can be made on, as the library's own protocols do."""

    label: str = "asking"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        case.attack.unsuitable(lab.dataset)
        yield from lab.ask(lab.train(case.recipe))
        case.attack.unsuitable(lab.dataset)
        return Measurement({}, {})


@pytest.mark.parametrize("module", ["gradshape_bench.protocols.asking", "a_users_own"])
def test_what_an_experiment_moves_is_put_back_whoever_wrote_the_protocol(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "__module__", module)
    before = _global_state.read()
    running = experiment(Asking(), case(Moving(0.1)), data.load("two_moons"), "cpu")
    jobs = next(running)
    assert _global_state.read() == before
    with pytest.raises(StopIteration):
        running.send([job.do(lambda _: None).result for job in jobs])
    assert _global_state.read() == before
