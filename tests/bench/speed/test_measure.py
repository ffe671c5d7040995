import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gradshape import models
from gradshape_bench.case import Scale
from gradshape_bench.options import Settings
from gradshape_bench.speed import measure, opacus_process, peak_memory, results, speed_session, stacks
from gradshape_bench.speed.experiments import WHOLE_EXPERIMENTS, WholeExperiment
from gradshape_bench.speed.flops import layer_products, step_flops
from gradshape_bench.speed.gates import Gate
from gradshape_bench.speed.library_steps import LEARNING_RATE, StepMethod, TimedStep
from gradshape_bench.speed.measure import WrongUpdate, check_update, check_updates, update
from gradshape_bench.speed.problems import PROBLEMS, Prepared, Problem
from gradshape_bench.speed.speed_session import SpeedSession
from gradshape_bench.speed.stacks import STACKS, TimedStack
from gradshape_bench.speed.step_methods import STEP_METHODS
from gradshape_bench.speed.timing import Effort
from tests.bench.speed.sample import make

pytestmark = [
    # Of torch, about the hooks of Opacus and about its functorch mode where the inputs are integers.
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
    pytest.mark.filterwarnings("ignore:In .* autocast, but the target dtype is not supported:UserWarning"),
]

ONCE = Effort(seconds=0, least=1, most=1)
SMALL = Problem(
    "small",
    "6-256-3",
    lambda generator: models.build("mlp1", (6,), 3, generator=generator),
    draw=lambda rows, generator: torch.rand(rows, 6, generator=generator),
    classes=3,
)


def test_flops_follow_the_formula() -> None:
    # Forward and weights: 2 * B * (6 + 8) each; inputs of the second layer: 2 * B * 8.
    assert step_flops([6, 8], 5) == 2 * 5 * (6 + 8) + 2 * 5 * (6 + 8) + 2 * 5 * 8


def test_single_layer_needs_no_gradient_of_its_inputs() -> None:
    assert step_flops([600 * 100], 100) == 4 * 100 * 600 * 100


def test_products_of_the_paper_models() -> None:
    def products(name: str, *shape: int) -> list[int]:
        return layer_products(models.build(name, shape, 10), torch.zeros(2, *shape))

    assert products("lr", 784) == [7840]
    assert products("mlp", 784) == [784 * 256, 256 * 256, 2560]
    assert products("cnn", 3, 32, 32) == [1024 * 27 * 16, 1024 * 144 * 32, 8192 * 64, 640]


def test_products_count_groups_and_positions() -> None:
    assert layer_products(nn.Conv2d(4, 6, 3, groups=2), torch.zeros(1, 4, 5, 5)) == [9 * 6 * 2 * 9]
    assert layer_products(nn.Linear(3, 2), torch.zeros(1, 7, 3)) == [7 * 3 * 2]


def test_counting_leaves_no_hook() -> None:
    model = nn.Linear(3, 2)
    layer_products(model, torch.zeros(1, 3))
    assert not model._forward_hooks


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_all_ways_make_the_same_update(problem: Problem) -> None:
    check_updates(problem.prepare(device="cpu", batch_size=4))


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
def test_stack_and_opacus_make_the_same_update(stack: TimedStack) -> None:
    prepared = stack.problem.prepare(device="cpu", batch_size=4)
    two = replace(stack, victims=2, steps=1)
    alone = update(prepared, STEP_METHODS["opacus_hooks"](prepared, 1.0))
    check_update(prepared, "the stack", update(prepared, stacks.together(two, prepared, 1.0)), alone)


@pytest.mark.parametrize("bytes_in_cache", [1, 1 << 20], ids=["one-by-one", "together"])
def test_every_victim_of_a_stack_takes_its_steps(bytes_in_cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradshape.training._dense.family._IN_CACHE", bytes_in_cache)
    prepared = SMALL.prepare(device="cpu", batch_size=4)
    once = stacks.together(TimedStack(SMALL, 3, steps=1), prepared, 1.0)
    for _ in range(2):
        once.take()
    expected = update(prepared, once)
    at_once = stacks.together(TimedStack(SMALL, 3, steps=3), prepared, 1.0)
    check_update(prepared, "the stack", update(prepared, at_once), expected)


def test_problem_is_the_same_every_time() -> None:
    for problem in PROBLEMS.values():
        one, other = (problem.prepare(device="cpu", batch_size=3) for _ in range(2))
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert all(torch.equal(one.initial[name], other.initial[name]) for name in one.initial)


def test_problems_leave_the_random_numbers_of_the_process_alone() -> None:
    before = torch.get_rng_state()
    for problem in PROBLEMS.values():
        problem.prepare(device="cpu", batch_size=1).model()
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_update_is_never_timed() -> None:
    prepared = SMALL.prepare(device="cpu", batch_size=4)

    def twice_as_far(prepared: Prepared, lr: float) -> TimedStep:
        return STEP_METHODS["clipped_gradient"](prepared, 2 * lr)

    ways: Mapping[str, StepMethod] = {"opacus_hooks": STEP_METHODS["opacus_hooks"], "wrong": twice_as_far}
    with pytest.raises(WrongUpdate, match="small: the update of wrong differs by 1 of its length"):
        check_updates(prepared, ways)


def test_ratios_are_those_to_plain_and_to_the_fastest_mode_of_opacus() -> None:
    times = measure.step_times(SMALL, ONCE, device="cpu")
    assert list(times) == list(STEP_METHODS)
    plain, ours = times["plain"], times["training"]
    fastest = min(times[name].seconds.median for name in times if name.startswith("opacus"))
    assert plain.over_plain.median == 1
    assert ours.over_plain.median == pytest.approx(ours.seconds.median / plain.seconds.median)
    assert ours.over_opacus is not None
    assert ours.over_opacus.median == pytest.approx(ours.seconds.median / fastest)
    assert plain.over_opacus is None


class _InThisProcess:
    """Does what :class:`opacus_process.OpacusProcess` does, for a problem that another process would not know."""

    def __init__(self, stack: TimedStack) -> None:
        self.take = STEP_METHODS["opacus_hooks"](stack.problem.prepare(device="cpu"), LEARNING_RATE).take
        self.steps = 1


def test_rates_of_a_stack_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = TimedStack(SMALL, 3, steps=2)
    here = _InThisProcess(stack)
    monkeypatch.setattr(opacus_process, "start_opacus", lambda name, device: nullcontext(here))
    times = measure.stack_times(stack, ONCE, device="cpu")
    a_victim = times.seconds.median / 3
    assert times.flops == step_flops([6 * 256, 256 * 3], 100)
    assert times.over_one_by_one.median == pytest.approx(times.one_by_one_seconds.median / a_victim)
    assert times.share.median == pytest.approx(times.flops / a_victim / times.product_flops.median)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the peak of the parent counts, too")
def test_peak_is_that_of_the_step_alone() -> None:
    ballast = torch.ones(2**26)  # 256 MiB here must not count there.
    peak = peak_memory.peak("clipped_gradient", "lr", batch_size=2000, device="cpu")
    assert 2000 * 100 * 4 <= peak < 2**27 < ballast.nbytes


def test_process_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="plain, lr, 1 rows: status 1"):
        peak_memory.peak("plain", "lr", batch_size=1, device="cpu")


def test_opacus_is_not_asked_for_more_memory_than_there_is() -> None:
    skipped = measure.step_memory("opacus_hooks", "cnn", batch_size=1000, device="cpu", most=10**9)
    assert skipped.bytes is None
    assert skipped.reason == "would take more than 4.2 GB"


def session(folder: Path, scale: Scale) -> SpeedSession:
    settings = Settings(
        scale=scale,
        seeds=(0,),
        device="cpu",
        offline=True,
        require_data=False,
        results=folder / "results.jsonl",
        cache_dir=folder,
        use_cache=False,
        max_memory=1,
        strict_verdicts=False,
    )
    return SpeedSession(settings, folder)


def finished(folder: Path, scale: Scale) -> SpeedSession:
    done = session(folder, scale)
    kept = make(scale=scale)
    memory_of_scale = {way: kept.memory["cnn"][way] for way in kept.memory["cnn"] if scale is Scale.PAPER}
    memory_of_scale["clipped_gradient"] = kept.memory["cnn"]["clipped_gradient"]
    done.run = replace(kept, memory={"cnn": memory_of_scale})
    return done


def test_complete_run_is_kept_and_shown(tmp_path: Path) -> None:
    done = finished(tmp_path, Scale.SMOKE)
    assert done.write() == f"speed: {tmp_path / 'speed.md'}"
    assert results.load(tmp_path / "speed.json") == done.run
    assert (tmp_path / "speed.md").exists()


@pytest.mark.parametrize("part", ["steps", "stacks", "memory", "experiments"])
def test_partial_run_writes_nothing(tmp_path: Path, part: str) -> None:
    partial = finished(tmp_path, Scale.PAPER)
    getattr(partial.run, part).popitem()
    assert "stays as it is" in partial.write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("whole", WHOLE_EXPERIMENTS, ids=lambda whole: whole.name)
def test_work_is_done_and_timed(whole: WholeExperiment) -> None:
    assert whole.run((3, 1), "cpu", 10**8) > 0


def test_work_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def run(size: tuple[int, int], device: str, max_memory: int) -> float:
        asked.append(size)
        return 2.0

    whole = WholeExperiment(
        "sums",
        "sums",
        ("rows", "columns"),
        full=(100, 20),
        run=run,
        measured={Scale.SMOKE: (10, 4)},
        on_gpus={Scale.SMOKE: (20, 8)},
    )
    monkeypatch.setattr(speed_session, "WHOLE_EXPERIMENTS", [whole])
    of_session = session(tmp_path, Scale.SMOKE)
    done = of_session.experiment(whole)
    assert done.projected == pytest.approx(2.0 * 100 * 20 / (10 * 4))
    assert of_session.value(Gate("sums", "seconds", "<=", bound=120)) == done.projected
    assert asked == [(10, 4)]


def test_gpus_may_do_more_of_the_work() -> None:
    whole = next(whole for whole in WHOLE_EXPERIMENTS if whole.name == "retraining")
    assert whole.size(Scale.PAPER, gpu=True) == whole.full
    assert whole.size(Scale.PAPER, gpu=False) < whole.full


def test_smoke_run_does_not_replace_one_at_paper_scale(tmp_path: Path) -> None:
    finished(tmp_path, Scale.PAPER).write()
    before = (tmp_path / "speed.md").read_bytes()
    assert "stays as it is" in finished(tmp_path, Scale.SMOKE).write()
    assert (tmp_path / "speed.md").read_bytes() == before
    assert results.load(tmp_path / "speed.json").scale is Scale.PAPER


def test_run_at_paper_scale_replaces_any(tmp_path: Path) -> None:
    finished(tmp_path, Scale.SMOKE).write()
    finished(tmp_path, Scale.PAPER).write()
    assert results.load(tmp_path / "speed.json").scale is Scale.PAPER


def test_everything_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def steps(problem: Problem, effort: Effort, *, device: str) -> object:
        calls.append(problem.name)
        return make().steps[problem.name]

    monkeypatch.setattr(measure, "step_times", steps)
    asked = session(tmp_path, Scale.SMOKE)
    assert asked.steps("lr") == asked.steps("lr")
    assert calls == ["lr"]


def test_missed_gate_is_measured_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([2.0, 1.0])
    monkeypatch.setattr(measure, "step_times", lambda *_, **__: make(over_plain=next(measured)).steps["lr"])
    asked = session(tmp_path, Scale.SMOKE)
    gate = Gate("lr", "step/plain", "<=", bound=0.8)
    assert asked.value(gate) == 2.0
    assert asked.value_again(gate) == 1.0
    assert asked.value_again(gate) == 1.0
