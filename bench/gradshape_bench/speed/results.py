"""The results of one run of the speed suite, kept as one JSON document."""

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradshape_bench.case import Scale
from gradshape_bench.records.store import write_atomically
from gradshape_bench.speed.gates import GATES, Gate, Quantity
from gradshape_bench.speed.timing import Spread

SCHEMA = 3


@dataclass(frozen=True)
class StepTimes:
    """Times of one way of taking a step on one problem.

    Attributes:
        seconds: seconds of a step.
        over_plain: ratio to the plain step, round by round.
        over_opacus: ratio to Opacus' fastest mode, round by round; for the ways of this library only.
    """

    seconds: Spread
    over_plain: Spread
    over_opacus: Spread | None = None


@dataclass(frozen=True)
class StackTimes:
    """Times of a stack.

    Attributes:
        seconds: seconds of a step of all victims.
        victims: number of victims.
        flops: operations of one victim's step; see :func:`gradshape_bench.speed.flops.step_flops`.
        one_by_one_seconds: seconds of one victim's step with Opacus.
        over_one_by_one: ratio of victim-steps per second to those of Opacus, round by round.
        product_flops: floating-point operations per second of the square matrix product.
        share: ratio of the stack's operations per second to those of the product, round by round.
    """

    seconds: Spread
    victims: int
    flops: int
    _: KW_ONLY
    one_by_one_seconds: Spread
    over_one_by_one: Spread
    product_flops: Spread
    share: Spread


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory of one step.

    Attributes:
        batch_size: number of rows in the batch.
        bytes: growth of the peak; ``None`` if it was not measured.
        reason: why it was not measured; ``None`` if it was.
    """

    batch_size: int
    bytes: int | None
    reason: str | None = None


@dataclass(frozen=True)
class ExperimentTime:
    """Time of a part of an experiment; see :class:`gradshape_bench.speed.experiments.WholeExperiment`.

    Attributes:
        size: the two numbers that say how large the measured part is.
        full: the two numbers of the whole experiment.
        seconds: seconds of the measured part.
    """

    size: tuple[int, int]
    full: tuple[int, int]
    seconds: float

    @property
    def projected(self) -> float:
        """Seconds of the whole experiment at the same rate."""
        return self.seconds / math.prod(self.size) * math.prod(self.full)


@dataclass(frozen=True)
class SpeedRun:
    """All measurements of a run.

    Attributes:
        scale: scale of the run, which says how many rounds it took.
        device: ``cpu``, or the name of the GPU.
        environment: versions, processor and threads.
        steps: times of steps, by problem and way.
        stacks: times of stacks, by name.
        memory: peak memory, by problem and way.
        experiments: times of whole experiments, by name; ``wholes`` in the document.
    """

    scale: Scale
    device: str
    environment: Mapping[str, Any]
    _: KW_ONLY
    steps: dict[str, dict[str, StepTimes]] = field(default_factory=dict)
    stacks: dict[str, StackTimes] = field(default_factory=dict)
    memory: dict[str, dict[str, PeakMemory]] = field(default_factory=dict)
    experiments: dict[str, ExperimentTime] = field(default_factory=dict)

    def value(self, subject: str, quantity: Quantity) -> float | None:
        """Return the value that a gate bounds: median of the ratios, GB or seconds; ``None`` if it was not measured."""
        if quantity == "seconds":
            experiment = self.experiments.get(subject)
            return None if experiment is None else experiment.projected
        way, _, reference = quantity.partition("/")
        step = self.steps.get(subject, {}).get("training" if way == "step" else way)
        stack = self.stacks.get(subject)
        if reference == "plain":
            return None if step is None else step.over_plain.median
        if quantity == "step/opacus":
            return None if step is None or step.over_opacus is None else step.over_opacus.median
        if quantity == "stack/one_by_one":
            return None if stack is None else stack.over_one_by_one.median
        if quantity == "stack/matrix_product":
            return None if stack is None else stack.share.median
        memory = self.memory.get(subject, {}).get("clipped_gradient")
        return None if memory is None or memory.bytes is None else memory.bytes / 1e9

    @property
    def gates(self) -> list[Gate]:
        """The gates for this kind of device."""
        return [gate for gate in GATES if gate.gpu == (self.device != "cpu")]

    def judged(self) -> list[tuple[Gate, float | None]]:
        """Return every gate of the device with the measured value."""
        return [(gate, self.value(gate.subject, gate.quantity)) for gate in self.gates]

    def to_json(self) -> str:
        """Return the document; equal runs give equal text."""
        plain = {"schema": SCHEMA, **asdict(self), "scale": self.scale.value}
        plain["wholes"] = plain.pop("experiments")
        return json.dumps(plain, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SpeedRun":
        """Read the run from a document.

        Raises:
            ValueError: ``text`` is no such document, or has another schema.
        """
        try:
            plain = json.loads(text)
            if plain["schema"] != SCHEMA:
                raise ValueError(f"schema {plain['schema']!r}: expected {SCHEMA}; run the speed suite again")
            steps = {
                name: {method: StepTimes(**_spreads(times)) for method, times in methods.items()}
                for name, methods in plain["steps"].items()
            }
            memory = {
                name: {method: PeakMemory(**peak) for method, peak in methods.items()}
                for name, methods in plain["memory"].items()
            }
            return cls(
                Scale.parse(plain["scale"]),
                plain["device"],
                plain["environment"],
                steps=steps,
                stacks={stack: StackTimes(**_spreads(times)) for stack, times in plain["stacks"].items()},
                memory=memory,
                experiments={name: _experiment_time(times) for name, times in plain["wholes"].items()},
            )
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"not a document of the speed suite: {error!r}") from error


def _spreads(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Spread(**value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def _experiment_time(plain: Mapping[str, Any]) -> ExperimentTime:
    (many, each), (all_many, all_each) = plain["size"], plain["full"]
    return ExperimentTime((many, each), (all_many, all_each), plain["seconds"])


def load(path: Path) -> SpeedRun:
    """Read the run at ``path``; raises ``OSError`` and what :meth:`SpeedRun.from_json` raises."""
    try:
        return SpeedRun.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(run: SpeedRun, path: Path) -> None:
    """Write ``run`` to ``path``."""
    write_atomically(path, [run.to_json()])
