"""One seed, one victim: what a network draws comes from its victim's seed, wherever and beside whom it is trained."""

import copy
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from gradshape import _digest, learners, models
from gradshape.learners import registry
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Fit, GradientProbe, Recipe, TrainingResult, Victim, train_victims
from gradshape.training.state import state_of
from gradshape.training.workload import initial_model
from tests.reliability.modules import BUILDERS, HIDDEN, IN
from tests.training.samples import blobs, random_rows

DATA = blobs(rows=24, shape=(IN,), spread=0.3)
ROWS = torch.rand(99, IN, generator=torch.Generator().manual_seed(0))
SHAPERS = {"plain": Shaper(), "shaped": Clip(0.5) | Noise(0.1)}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", {**models._BUILDERS, **BUILDERS})


def victim(model: str, *, seed: int = 0, shaper: Shaper = SHAPERS["plain"]) -> Victim:
    return Victim(Recipe(model, SGD(0.2), batch_size=8, epochs=2, shaper=shaper), seed)


def trained(*victims: Victim) -> list[str]:
    """The digests of what each has learned."""
    return [digest(result) for result in train_victims(DATA, victims)]


def digest(result: TrainingResult) -> str:
    assert result.last is not None
    return _digest.of(result.accuracy, *result.last.values())


def disturb() -> None:
    """Leave the generators of the process where nobody left them."""
    torch.manual_seed(11)
    np.random.seed(12)  # noqa: NPY002
    random.seed(13)


each_model = pytest.mark.parametrize("model", BUILDERS)


@each_model
@pytest.mark.parametrize("shaper", SHAPERS)
def test_a_victim_is_the_same_after_whatever_ran_before(model: str, shaper: str) -> None:
    mine, other = (victim(model, seed=seed, shaper=SHAPERS[shaper]) for seed in (0, 1))
    [alone] = trained(mine)
    disturb()
    assert trained(other, mine) == [trained(other)[0], alone]
    assert trained(other) != [alone]


@each_model
def test_initial_weights_and_buffers_hang_on_the_generator_alone(model: str) -> None:
    def built(seed: int) -> str:
        disturb()
        network = models.build(model, (IN,), 3, generator=torch.Generator().manual_seed(seed))
        return _digest.of(*state_of(network).values())

    def drawn_before(seed: int) -> str:
        torch.rand(3)
        return built(seed)

    assert built(5) == drawn_before(5) != built(6)


@each_model
def test_training_leaves_the_generators_of_the_process_alone(model: str) -> None:
    disturb()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    train_victims(DATA, [victim(model)])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002
    assert random.getstate() == before[2]


def in_threads(*tasks: Callable[[], list[str]]) -> list[list[str]]:
    """What the tasks return that begin at the same time, each in a thread."""
    found: dict[int, list[str]] = {}
    together = threading.Barrier(len(tasks))

    def work(place: int) -> None:
        together.wait()
        found[place] = tasks[place]()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(tasks))]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_do_not_draw_each_others_numbers() -> None:
    lists = [[victim(model, seed=seed) for model in BUILDERS] for seed in (0, 1)]
    alone = [trained(*victims) for victims in lists]
    lists_backwards = [list(reversed(victims)) for victims in lists]

    def task(victims: Sequence[Victim]) -> Callable[[], list[str]]:
        return lambda: trained(*victims)

    first, second = in_threads(task(lists[0]), task(lists_backwards[1]))
    assert [first, second[::-1]] == alone


@pytest.mark.usefixtures("hasty")
def test_networks_that_draw_nothing_disturb_none_that_do() -> None:
    """Trainings of the CNN look at the generators, and restore them, wherever they see a new shape or count memory."""
    pictures = blobs(rows=24, shape=(1, 4, 4), spread=0.3)
    recipe = Recipe("cnn_dropout", SGD(0.1), batch_size=8, epochs=20)

    def dropping() -> list[str]:
        return [digest(result) for result in train_victims(pictures, [Victim(recipe, 3)])]

    def others() -> list[str]:
        for size in range(2, 24):
            cnn = Recipe("cnn", SGD(0.1), batch_size=size, epochs=1, shaper=SHAPERS["shaped"])
            train_victims(pictures, [Victim(cnn, 0)], stacked=False, max_memory=2**19)
        return []

    alone = dropping()
    assert in_threads(dropping, others)[0] == alone


@each_model
def test_a_probe_does_not_change_what_it_looks_at(model: str) -> None:
    plain = Victim(victim(model).recipe, 0, private=random_rows(DATA, 6, seed=1))
    probed = Victim(plain.recipe, 0, private=plain.private, probe=GradientProbe())
    one, other = (train_victims(DATA, [v])[0].last for v in (plain, probed))
    assert one is not None
    assert other is not None
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)


def in_this_process() -> dict[str, str]:
    return dict(zip(BUILDERS, trained(*map(victim, BUILDERS)), strict=True))


def test_another_process_trains_the_same_victims() -> None:
    script = (
        "import json, torch; torch.set_num_threads(1)\n"
        "from tests.reliability import test_one_seed as tests\n"
        "tests.models._BUILDERS.update(tests.BUILDERS)\n"
        "print(json.dumps(tests.in_this_process()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(run.stdout) == in_this_process()


@pytest.mark.usefixtures("hasty")
def test_an_estimator_without_a_seed_of_its_own_draws_from_the_victims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LEARNERS", dict(registry._LEARNERS))
    learners.register("forest", lambda seed: RandomForestClassifier(3, max_depth=2))

    def predicted(*seeds: int) -> list[str]:
        victims = [Victim(Fit("forest"), seed, watch=ROWS) for seed in seeds]
        results = train_victims(DATA, victims)
        return [str(result.predictions) for result in results]

    [alone] = predicted(0)
    disturb()
    with_others = predicted(1, 2, 0)
    assert with_others[-1] == alone
    assert len(set(with_others)) > 1
    dropping, beside = in_threads(lambda: trained(victim("dropout")), lambda: predicted(0))
    assert [dropping, beside] == [trained(victim("dropout")), [alone]]


@pytest.mark.parametrize("shaper", SHAPERS)
def test_a_frozen_layer_stays_as_it_was_drawn(shaper: str) -> None:
    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        body = nn.Sequential(nn.Linear(IN, HIDDEN).requires_grad_(False), nn.ReLU())
        return models.Classifier(body, nn.Linear(HIDDEN, classes))

    mine = victim(register(build), shaper=SHAPERS[shaper])
    before, [result] = initial_model(DATA, mine).state_dict(), train_victims(DATA, [mine])
    assert result.last is not None
    changed = {name for name, tensor in result.last.items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}


def register(builder: models.Builder) -> str:
    models.register("mine", builder)
    return "mine"


class Body(nn.Linear):
    """A layer that somebody trained before."""

    def __init__(self) -> None:
        super().__init__(IN, HIDDEN)


def test_a_builder_that_nobody_can_seed_is_refused() -> None:
    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        norm = nn.LayerNorm(classes)
        with torch.no_grad():
            norm.weight.copy_(torch.from_numpy(np.random.default_rng().random(classes)))
        return nn.Sequential(nn.Linear(IN, classes), norm)

    with pytest.raises(ValueError, match=r"model 'mine' gave '1.weight' other values at its second call with the same"):
        models.build(register(build), (IN,), 3)


def test_a_builder_that_remembers_what_it_did_is_refused() -> None:
    calls: list[int] = []

    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        calls.append(len(calls))
        return nn.Sequential(nn.LayerNorm(IN + len(calls) // 2), nn.Linear(IN, classes))

    with pytest.raises(ValueError, match="other values at its second call"):
        models.build(register(build), (IN,), 3)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_builder_whose_models_share_a_module_is_refused(frozen: bool) -> None:
    body = Body().requires_grad_(not frozen)
    register(lambda shape, classes: nn.Sequential(body, nn.ReLU(), nn.Linear(HIDDEN, classes)))
    with pytest.raises(ValueError, match=r"'mine' returned the same Body twice.*copy\.deepcopy"):
        models.build("mine", (IN,), 3)


def test_a_builder_whose_models_share_frozen_values_only_is_taken() -> None:
    loaded = torch.ones(HIDDEN, IN)

    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        body = Body().requires_grad_(False)
        body.weight = nn.Parameter(loaded, requires_grad=False)
        return nn.Sequential(body, nn.Linear(HIDDEN, classes))

    first = next(models.build(register(build), (IN,), 3).parameters())
    assert torch.equal(first, loaded)


@pytest.mark.parametrize(
    ("builder", "problem"),
    [
        pytest.param(lambda shape, classes: nn.Linear, "expected a torch.nn.Module", id="a class"),
        pytest.param(lambda shape, classes: nn.LazyLinear(classes), "'weight' without a shape", id="lazy"),
    ],
)
def test_what_cannot_be_a_model_is_refused(builder: models.Builder, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        models.build(register(builder), (IN,), 3)


@pytest.mark.parametrize(
    ("network", "found"),
    [
        pytest.param(nn.Linear(IN, 7), r"an array \(2, 7\)", id="too many"),
        pytest.param(nn.Sequential(nn.Linear(IN, 3), nn.Unflatten(1, (3, 1))), r"an array \(2, 3, 1\)", id="a map"),
        pytest.param(nn.GRU(IN, 3), "a tuple", id="several"),
    ],
)
def test_a_network_without_a_logit_for_each_class_is_refused(network: nn.Module, found: str) -> None:
    register(lambda shape, classes: copy.deepcopy(network))
    with pytest.raises(ValueError, match=rf"model 'mine' makes {found} of 2 rows: expected logits \(2, 3\)"):
        train_victims(DATA, [victim("mine")])
