"""The measurements of a pytest session: each is made once, when it is first asked for."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gradshape_bench.case import Scale
from gradshape_bench.engines import processors
from gradshape_bench.engines.allocator import keeps_freed_memory
from gradshape_bench.environment import describe
from gradshape_bench.options import Settings
from gradshape_bench.speed import measure, results
from gradshape_bench.speed import page as speed_page
from gradshape_bench.speed.experiments import WHOLE_EXPERIMENTS, WholeExperiment
from gradshape_bench.speed.gates import Gate
from gradshape_bench.speed.problems import PROBLEMS
from gradshape_bench.speed.results import ExperimentTime, PeakMemory, SpeedRun, StackTimes, StepTimes
from gradshape_bench.speed.stacks import STACKS, TimedStack
from gradshape_bench.speed.timing import Effort

EFFORT = {
    Scale.SMOKE: Effort(seconds=0.8, least=3, most=30),
    Scale.PAPER: Effort(seconds=30, least=15, most=200, processes=5),
}

MEMORY_BATCH = 1000
MEMORY_METHODS: Mapping[Scale, tuple[str, ...]] = {
    Scale.SMOKE: ("clipped_gradient",),
    Scale.PAPER: ("plain", "clipped_gradient", "opacus_hooks"),
}
_MOST_MEMORY = 8 * 10**9


class SpeedSession:
    """Measures problems, stacks, memory and experiments of one pytest session.

    Args:
        settings: scale, device, and the folder of the results.
        root: folder of the checkout, whose commit is recorded.
    """

    def __init__(self, settings: Settings, root: Path) -> None:
        self.device = settings.device
        self.scale = settings.scale
        self.effort = EFFORT[settings.scale]
        self._folder = settings.results.parent
        self._max_memory = settings.max_memory
        self._again: set[str] = set()
        name = "cpu" if self.device == "cpu" else torch.cuda.get_device_name(self.device)
        self.run = SpeedRun(self.scale, name, _environment(self.device, root))

    def steps(self, problem: str) -> dict[str, StepTimes]:
        """Return the times of all ways of taking a step on a problem."""
        if problem not in self.run.steps:
            self.run.steps[problem] = measure.step_times(PROBLEMS[problem], self.effort, device=self.device)
        return self.run.steps[problem]

    def stack(self, stack: TimedStack) -> StackTimes:
        """Return the times of a stack."""
        if stack.name not in self.run.stacks:
            self.run.stacks[stack.name] = measure.stack_times(stack, self.effort, device=self.device)
        return self.run.stacks[stack.name]

    def memory(self, method: str, problem: str = "cnn") -> PeakMemory:
        """Return the peak memory of a step."""
        known = self.run.memory.setdefault(problem, {})
        if method not in known:
            known[method] = measure.step_memory(
                method, problem, batch_size=MEMORY_BATCH, device=self.device, most=_MOST_MEMORY
            )
        return known[method]

    def experiment(self, experiment: WholeExperiment) -> ExperimentTime:
        """Return the time of an experiment."""
        if experiment.name not in self.run.experiments:
            size = experiment.size(self.scale, gpu=self.device != "cpu")
            seconds = experiment.run(size, self.device, self._max_memory)
            self.run.experiments[experiment.name] = ExperimentTime(size, experiment.full, seconds)
        return self.run.experiments[experiment.name]

    def value(self, gate: Gate) -> float | None:
        """Return the value that ``gate`` bounds, measured now if need be."""
        if gate.quantity == "seconds":
            self.experiment(next(known for known in WHOLE_EXPERIMENTS if known.name == gate.subject))
        elif gate.quantity == "memory":
            self.memory("clipped_gradient", gate.subject)
        elif gate.subject in PROBLEMS:
            self.steps(gate.subject)
        else:
            self.stack(next(stack for stack in STACKS if stack.name == gate.subject))
        return self.run.value(gate.subject, gate.quantity)

    def value_again(self, gate: Gate) -> float | None:
        """Return the value from a second measurement, which replaces the first; there is no third."""
        if gate.subject not in self._again and gate.quantity not in ("memory", "seconds"):
            self._again.add(gate.subject)
            self.run.steps.pop(gate.subject, None)
            self.run.stacks.pop(gate.subject, None)
        return self.value(gate)

    @property
    def complete(self) -> bool:
        """Whether everything that the page shows has been measured."""
        return (
            self.run.steps.keys() == PROBLEMS.keys()
            and self.run.stacks.keys() == {stack.name for stack in STACKS}
            and self.run.experiments.keys() == {experiment.name for experiment in WHOLE_EXPERIMENTS}
            and self.run.memory.get("cnn", {}).keys() == set(MEMORY_METHODS[self.scale])
        )

    def write(self) -> str:
        """Write the results and the page of a complete run; return a line that says what was done.

        A partial run writes nothing, and a smoke run does not replace one at paper scale.
        """
        path = self._folder / f"{speed_page.stem(self.run.device)}.json"
        page = path.with_suffix(".md")
        if not self.complete:
            return f"not everything was measured: {page} stays as it is"
        if self.scale is Scale.SMOKE and _stored_scale(path) is Scale.PAPER:
            return f"a smoke run does not replace one at paper scale: {page} stays as it is"
        results.save(self.run, path)
        speed_page.write(self.run, page)
        return f"speed: {page}"


def _stored_scale(path: Path) -> Scale | None:
    try:
        return results.load(path).scale
    except (OSError, ValueError):
        return None


def threads() -> int:
    """Return the number of threads for all ways: ``OMP_NUM_THREADS``, or as many as there are processors."""
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else processors()


def _environment(device: str, root: Path) -> dict[str, Any]:
    return {
        **describe(device, root),
        "opacus": version("opacus"),
        "processor": _processor(),
        "processors": processors(),
        "threads": threads(),
        # The harness keeps freed memory; other processes give it back, which makes every way slower, some by much.
        "freed memory": "kept" if keeps_freed_memory() else "given back",
    }


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
