"""How fast a clipped step is beside plain training and beside Opacus, and the bounds that it has to keep.

Times are for comparing (``--benchmark-autosave``, ``--benchmark-compare``) and not asserted, but at paper scale for
those of whole experiments. The other gates bound memory, and ratios of ways that took turns: how fast the machine was
drops out of them. A merge gate has to stop real regressions without stopping anyone for a busy neighbour, so at smoke
scale, with its few rounds, a gate fails its test only if it is missed by more than a factor of 2 (a closed form that is
lost costs more), twice in a row. At paper scale, which is for a quiet machine, every miss fails. The report says
"missed" at both.
CPUs and GPUs have bounds of their own.
"""

from dataclasses import asdict

import pytest

from gradshape_bench.case import Scale
from gradshape_bench.speed import page
from gradshape_bench.speed.experiments import WHOLE_EXPERIMENTS, WholeExperiment
from gradshape_bench.speed.gates import GATES, TOLERANCE, Gate
from gradshape_bench.speed.library_steps import LEARNING_RATE, TimedStep
from gradshape_bench.speed.problems import PROBLEMS
from gradshape_bench.speed.speed_plugin import Benchmark
from gradshape_bench.speed.speed_session import MEMORY_METHODS, SpeedSession
from gradshape_bench.speed.stacks import STACKS, TimedStack, together
from gradshape_bench.speed.step_methods import STEP_METHODS
from gradshape_bench.speed.timing import synchronizer

pytestmark = [
    pytest.mark.speed,
    # Where a measurement fails, that is the failure.
    pytest.mark.filterwarnings("ignore:Benchmark fixture was not used:pytest_benchmark.logger.PytestBenchmarkWarning"),
    # Of torch, about Opacus' functorch mode where the inputs are integers.
    pytest.mark.filterwarnings("ignore:In .* autocast, but the target dtype is not supported:UserWarning"),
]

# What pytest-benchmark measures on top of the turns, one way after the other: at least a round, and so many seconds.
SECONDS = {Scale.SMOKE: 0.2, Scale.PAPER: 5.0}


@pytest.mark.benchmark(disable_gc=True)
@pytest.mark.parametrize(
    ("problem", "way"), [pytest.param(p, w, id=f"{p}-{w}") for p in PROBLEMS for w in STEP_METHODS]
)
def test_step(speed: SpeedSession, benchmark: Benchmark, problem: str, way: str) -> None:
    times = speed.steps(problem)[way]
    benchmark.group = f"step {problem}"
    benchmark.extra_info.update(asdict(times))
    step = STEP_METHODS[way](PROBLEMS[problem].prepare(device=speed.device), LEARNING_RATE)
    measure_again(speed, benchmark, step, times.seconds.median)


@pytest.mark.benchmark(disable_gc=True)
@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
def test_stack(speed: SpeedSession, benchmark: Benchmark, stack: TimedStack) -> None:
    times = speed.stack(stack)
    benchmark.group = f"stack {stack.name}"
    benchmark.extra_info.update(asdict(times))
    step = together(stack, stack.problem.prepare(device=speed.device), LEARNING_RATE)
    measure_again(speed, benchmark, step, times.seconds.median * stack.steps)


def measure_again(speed: SpeedSession, benchmark: Benchmark, step: TimedStep, seconds: float) -> None:
    wait = synchronizer(speed.device)

    def take() -> None:
        step.take()
        wait()

    rounds = min(1000, max(1, round(SECONDS[speed.scale] / seconds)))
    benchmark.pedantic(take, rounds=rounds, warmup_rounds=1)


@pytest.mark.parametrize("way", MEMORY_METHODS[Scale.PAPER])
def test_memory(speed: SpeedSession, way: str) -> None:
    if way not in MEMORY_METHODS[speed.scale]:
        pytest.skip(f"measured at paper scale only: {way} is there to compare with")
    memory = speed.memory(way)
    if memory.bytes is None:
        pytest.skip(f"{way}: {memory.reason}")


@pytest.mark.parametrize("whole", WHOLE_EXPERIMENTS, ids=lambda whole: whole.name)
def test_whole(speed: SpeedSession, whole: WholeExperiment) -> None:
    assert speed.experiment(whole).seconds > 0


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.id)
def test_gate(speed: SpeedSession, gate: Gate) -> None:
    if gate not in speed.run.gates:
        pytest.skip("the bound is for another kind of device")
    if gate.quantity == "seconds" and speed.scale is Scale.SMOKE:
        pytest.skip("seconds are judged at paper scale only")
    value = speed.value(gate)
    tolerance = TOLERANCE[speed.scale]
    assert value is not None
    if speed.scale is Scale.SMOKE and not gate.met(value, tolerance=tolerance):
        value = speed.value_again(gate)
        assert value is not None
    assert gate.met(value, tolerance=tolerance), (
        f"{gate.subject} {gate}: measured {page.quantity(gate, value)} (tolerance: a factor of {tolerance:g})"
    )
