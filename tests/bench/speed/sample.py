"""A run of the speed suite as it would be kept, for the tests of what shows it."""

from gradshape_bench.case import Scale
from gradshape_bench.speed.experiments import WHOLE_EXPERIMENTS
from gradshape_bench.speed.problems import PROBLEMS
from gradshape_bench.speed.results import ExperimentTime, PeakMemory, SpeedRun, StackTimes, StepTimes
from gradshape_bench.speed.stacks import STACKS
from gradshape_bench.speed.step_methods import OURS, STEP_METHODS
from gradshape_bench.speed.timing import Spread

ENVIRONMENT = {"torch": "2.13.0", "opacus": "1.6.0", "threads": 2, "processor": "A | B", "commit": None}


def spread(median: float, n: int = 15) -> Spread:
    return Spread(median, 0.9 * median, 1.1 * median, n)


def steps(*, over_plain: float = 0.5, over_opacus: float = 0.125) -> dict[str, StepTimes]:
    ours = StepTimes(spread(0.001), spread(over_plain), spread(over_opacus))
    others = StepTimes(spread(0.008), spread(4.0))
    return {way: ours if way in OURS else others for way in STEP_METHODS}


def make(
    *, scale: Scale = Scale.PAPER, device: str = "cpu", over_plain: float = 0.5, gigabytes: float = 0.75
) -> SpeedRun:
    """A complete run in which only ``over_plain`` and ``gigabytes`` can miss a gate."""
    stacks = {
        stack.name: StackTimes(
            seconds=spread(0.002),
            victims=stack.victims,
            flops=1_234_567,
            one_by_one_seconds=spread(0.004),
            over_one_by_one=spread(250.0),
            product_flops=spread(98.7e9),
            share=spread(0.75),
        )
        for stack in STACKS
    }
    memory = {
        "plain": PeakMemory(1000, 600_000_000),
        "clipped_gradient": PeakMemory(1000, round(gigabytes * 1e9)),
        "opacus_hooks": PeakMemory(1000, None, "would take more than 9.9 GB"),
    }
    every_step = {problem: steps(over_plain=over_plain) for problem in PROBLEMS}
    experiments = {each.name: ExperimentTime((100, 10), (1_000, 50), 0.05) for each in WHOLE_EXPERIMENTS}
    return SpeedRun(
        scale,
        device,
        ENVIRONMENT,
        steps=every_step,
        stacks=stacks,
        memory={"cnn": memory},
        experiments=experiments,
    )
