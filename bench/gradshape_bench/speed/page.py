"""The page about speed, made from the results of one run. The same results give the same bytes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from gradshape_bench.case import Scale
from gradshape_bench.records.store import write_atomically
from gradshape_bench.report import markdown
from gradshape_bench.speed.experiments import WHOLE_EXPERIMENTS
from gradshape_bench.speed.gates import TOLERANCE, Gate
from gradshape_bench.speed.problems import BATCH_SIZE, MAX_NORM, PROBLEMS
from gradshape_bench.speed.results import SpeedRun
from gradshape_bench.speed.stacks import STACKS
from gradshape_bench.speed.step_methods import STEP_METHODS
from gradshape_bench.speed.timing import Spread

Item = TypeVar("Item")

_INTRODUCTION = f"""\
# Speed

How long a training step with per-sample clipping takes beside plain training and beside Opacus. This page is generated
from the speed suite's results by `gradshape speed`; edits to it are lost. To measure again:

    pytest suites/test_speed.py --scale paper

All ways step on the same {BATCH_SIZE} rows from the same weights, with clipping norm {MAX_NORM:g}, SGD and no noise,
in one process and with the same threads; their updates are compared before anything is timed. They take turns, and
every ratio is that of two turns of one round, so that it does not depend on how fast the machine was just then.
`1.23 [1.20, 1.30]` is the median over the rounds with the quartiles.
"""

_METHODS = {
    "plain": "plain training: backward pass of the mean loss, `torch.optim.SGD`",
    "clipped_gradient": "`gradshape.clipping.clipped_gradient` on a module, and the update",
    "clipped_gradient_own_loss": "the same with a loss that is a function of the user's, around cross-entropy",
    "shaped_loss": "the loop of plain training with its criterion wrapped in `gradshape.shaping.ShapedLoss`",
    "first_clipped_gradient": (
        "`clipped_gradient` on a copy of a network, with the check of what a forward pass does to its rows"
    ),
    "training": "the step that `gradshape.training.train_victims` takes for one victim",
    "opacus_hooks": "Opacus' default, per-sample gradients by rules: `GradSampleModule`, `DPOptimizer`",
    "opacus_functorch": "the same with `force_functorch=True`",
    "opacus_ghost": "Opacus' ghost clipping: `GradSampleModuleFastGradientClipping`",
}

_SCALES = {
    Scale.SMOKE: "Smoke scale: a few rounds, to see that everything works. Do not quote these numbers.",
    Scale.PAPER: "Paper scale: many rounds.",
}

_STACKS = """\
Victims share their batch. On CPUs as many as the cache holds take their steps together, some steps before the next ones
do, as in a training; Opacus trains one after the other, with its default, in processes of its own, since what its
memory costs depends on what else a process does, and differs from one process to the next. The share is that of the
rate of a square float32 matrix product (2048 x 2048), measured in the same rounds; the operations of a step are those
of its matrix products: forward, gradients of the weights, and of the inputs but for the first layer. Two classes of a
single layer are trained as one difference, which takes half of these: there the share can exceed 100 %.\
"""


_EXPERIMENTS = """\
Each of the trainings sees one row more than the others, as one-shot poisoning asks for: everything that
`gradshape.training.train_victims` does, set-up and an evaluation at the end included, with the victims shared by
the processors as in a run. Crafting is everything that the attack does once it has the victim's base model,
for every pair of a target and a candidate. Seconds of a part are given for the whole at the same rate.\
"""


def render(run: SpeedRun) -> str:
    """Render the page."""
    blocks = [_INTRODUCTION, _SCALES[run.scale]]
    for problem, methods in _in_order(run.steps, PROBLEMS):
        blocks += [f"## One step: {markdown.escape(problem)}", _steps(run, problem)] if methods else []
    if run.steps:
        ways = {way for methods in run.steps.values() for way in methods}
        blocks.append("\n".join(f"- {markdown.code(way)}: {text}" for way, text in _METHODS.items() if way in ways))
    if run.stacks:
        blocks += ["## Stacks", _STACKS, _stacks(run)]
    if run.memory:
        blocks += ["## Peak memory of one step", *_memory(run)]
    if run.experiments:
        blocks += ["## Whole experiments", _EXPERIMENTS, _experiments(run)]
    blocks += ["## Gates", *_gates(run)]
    facts = [f"- {markdown.escape(f'{name}: {_plain(value)}')}" for name, value in sorted(run.environment.items())]
    blocks += ["## Where this was measured", "\n".join(facts)]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def write(run: SpeedRun, path: Path) -> None:
    """Write the page to ``path``, so that readers see either the old page or the new."""
    write_atomically(path, [render(run)])


def stem(device: str) -> str:
    """Return the name of a device's page and results file, without suffix.

    >>> stem("cpu"), stem("NVIDIA H200"), stem("NVIDIA GeForce RTX 4090")
    ('speed', 'speed-h200', 'speed-rtx-4090')
    """
    if device == "cpu":
        return "speed"
    words = re.findall(r"[a-z0-9.]+", device.lower())
    return "-".join(["speed", *(word for word in words if word not in ("nvidia", "geforce"))])


def standing(gate: Gate, value: float | None) -> str:
    """Say whether a gate is met, with a mark."""
    if value is None:
        return "not measured"
    return "✓ met" if gate.met(value) else "✗ missed"


def quantity(gate: Gate, value: float | None) -> str:
    """Format a measured value for showing it beside its gate."""
    if value is None:
        return ""
    if gate.quantity == "seconds":
        return f"{value:,.0f} s"
    return f"{value:.2f} GB" if gate.quantity == "memory" else f"{value:.3g}"


def _steps(run: SpeedRun, problem: str) -> str:
    rows = []
    for method, times in _in_order(run.steps[problem], STEP_METHODS):
        over_opacus = "" if times.over_opacus is None else _spread(times.over_opacus)
        rows.append([markdown.escape(method), _spread(times.seconds, 1e3), _spread(times.over_plain), over_opacus])
    return markdown.table(rows, ["way", "ms a step", "of plain", "of Opacus' fastest"])


def _stacks(run: SpeedRun) -> str:
    rows = []
    for stack, times in _in_order(run.stacks, [stack.name for stack in STACKS]):
        rows.append(
            [
                markdown.escape(stack),
                f"{times.victims:,}",
                f"{times.victims / times.seconds.median:,.0f}",
                _spread(times.seconds, 1e3),
                _spread(times.one_by_one_seconds, 1e3),
                _spread(times.over_one_by_one),
                f"{times.flops / 1e6:,.1f}",
                f"{times.product_flops.median / 1e9:,.0f}",
                _spread(times.share, 100),
            ]
        )
    headers = [
        "stack",
        "victims",
        "victim-steps/s",
        "ms a step of all",
        "Opacus, ms a victim",
        "times as fast",
        "Mflop a victim-step",
        "product, Gflop/s",
        "share of it, %",
    ]
    return markdown.table(rows, headers)


def _experiments(run: SpeedRun) -> str:
    known = {experiment.name: experiment for experiment in WHOLE_EXPERIMENTS}
    rows = []
    for name, done in _in_order(run.experiments, known):
        many, each = known[name].counts if name in known else ("", "")
        (count, count_each), (full, full_each) = done.size, done.full
        rows.append(
            [
                markdown.escape(name),
                known[name].title if name in known else "",
                f"{count:,} {many}, {count_each:,} {each}",
                f"{done.seconds:,.1f}",
                f"{full:,} {many}, {full_each:,} {each}",
                f"{done.projected:,.0f}",
            ]
        )
    return markdown.table(rows, ["name", "what", "measured", "seconds", "the whole", "seconds of it"])


def _memory(run: SpeedRun) -> Iterator[str]:
    rows, reasons = [], []
    for problem, methods in _in_order(run.memory, PROBLEMS):
        for method, memory in _in_order(methods, STEP_METHODS):
            shown = "not measured" if memory.bytes is None else f"{memory.bytes / 1e6:,.0f}"
            rows.append([markdown.escape(problem), f"{memory.batch_size:,}", markdown.escape(method), shown])
            if memory.reason is not None:
                reasons.append(f"- {markdown.escape(f'{problem}, {method}: {memory.reason}')}")
    yield (
        "Growth of the peak of a fresh process that holds the network and the batch."
        if run.device == "cpu"
        else "Peak of what PyTorch allocates on the device, without the network and the batch."
    )
    yield markdown.table(rows, ["model", "rows", "way", "MB"])
    if reasons:
        yield "\n".join(reasons)


def _gates(run: SpeedRun) -> Iterator[str]:
    yield (
        "Bounds on the `training` way (`step`), on the ways that are named, on stacks, on the memory of "
        "`clipped_gradient` (GB of 10^9 bytes), and on the "
        "seconds of whole experiments. The suite fails if one is missed; at smoke scale, for busy machines, if it is "
        f"missed by more than a factor of {TOLERANCE[Scale.SMOKE]:g}, twice in a row, and seconds are not judged there."
    )
    rows = [
        [markdown.escape(gate.subject), markdown.escape(gate), quantity(gate, value), standing(gate, value)]
        for gate, value in run.judged()
    ]
    yield markdown.table(rows, ["what", "gate", "measured", ""])


def _in_order(found: Mapping[str, Item], known: Iterable[str]) -> list[tuple[str, Item]]:
    """Sort items by name in the order of ``known``; items with other names come last."""
    places = {name: place for place, name in enumerate(known)}
    return sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _spread(spread: Spread, factor: float = 1.0) -> str:
    return f"{_number(spread.median * factor)} [{_number(spread.q1 * factor)}, {_number(spread.q3 * factor)}]"


def _number(value: float) -> str:
    """Format three significant digits, without an exponent."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(value[name])}" for name in sorted(value))
    return "none" if value is None else str(value)
