"""What one run of the speed suite measured, as one JSON document."""

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradshape_bench.case import Scale
from gradshape_bench.speed.gates import GATES, Gate, Quantity
from gradshape_bench.speed.timing import Spread
from gradshape_bench.store import write_atomically

SCHEMA = 3


@dataclass(frozen=True)
class StepTimes:
    """One way of stepping on one problem.

    Attributes:
        seconds: a step.
        over_plain: as a multiple of the plain step, round by round.
        over_opacus: as a multiple of Opacus' fastest mode, round by round; for this library's ways only.
    """

    seconds: Spread
    over_plain: Spread
    over_opacus: Spread | None = None


@dataclass(frozen=True)
class StackTimes:
    """One stack.

    Attributes:
        seconds: a step of all victims.
        victims: how many they are.
        flops: of one victim's step; see :func:`gradshape_bench.speed.flops.step_flops`.
        one_by_one_seconds: of one victim's step with Opacus.
        over_one_by_one: victim-steps a second, as a multiple of those of Opacus, round by round.
        product_flops: floating-point operations a second of the square matrix product.
        share: of that rate in the stack's own, round by round.
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
        batch_size: rows in the batch.
        bytes: growth of the peak; ``None`` if it was not measured.
        reason: why not.
    """

    batch_size: int
    bytes: int | None
    reason: str | None = None


@dataclass(frozen=True)
class ExperimentTime:
    """A whole piece of work; see :class:`gradshape_bench.speed.experiments.WholeExperiment`.

    Attributes:
        size: how much of it was done: two numbers.
        full: how much of it there is.
        seconds: of what was done.
    """

    size: tuple[int, int]
    full: tuple[int, int]
    seconds: float

    @property
    def projected(self) -> float:
        """Seconds of all of it at this rate."""
        return self.seconds / math.prod(self.size) * math.prod(self.full)


@dataclass(frozen=True)
class SpeedRun:
    """All that a run measured.

    Attributes:
        scale: how many rounds it took.
        device: ``cpu``, or the GPU's name.
        environment: versions, processor, threads.
        steps: by problem and way.
        stacks: by stack.
        memory: by problem and way.
        experiments: by name; ``wholes`` in the document.
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
        """What a gate bounds: the median of the ratios, GB or seconds; ``None`` if it was not measured."""
        if quantity == "seconds":
            experiment = self.experiments.get(subject)
            return None if experiment is None else experiment.projected
        step = self.steps.get(subject, {}).get("training")
        stack = self.stacks.get(subject)
        if quantity == "step/plain":
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
        """Those for this kind of device."""
        return [gate for gate in GATES if gate.gpu == (self.device != "cpu")]

    def judged(self) -> list[tuple[Gate, float | None]]:
        """Every gate of the device with what was measured."""
        return [(gate, self.value(gate.subject, gate.quantity)) for gate in self.gates]

    def to_json(self) -> str:
        """The document; equal runs give equal text."""
        plain = {"schema": SCHEMA, **asdict(self), "scale": self.scale.value}
        plain["wholes"] = plain.pop("experiments")
        return json.dumps(plain, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SpeedRun":
        """The run of a document.

        Raises:
            ValueError: it is none, or of another schema.
        """
        try:
            plain = json.loads(text)
            if plain["schema"] != SCHEMA:
                raise ValueError(f"schema {plain['schema']!r}: expected {SCHEMA}; run the speed suite again")
            steps = {
                name: {method: _step_times(of) for method, of in methods.items()}
                for name, methods in plain["steps"].items()
            }
            memory = {
                name: {method: PeakMemory(**of) for method, of in methods.items()}
                for name, methods in plain["memory"].items()
            }
            return cls(
                Scale.parse(plain["scale"]),
                plain["device"],
                plain["environment"],
                steps=steps,
                stacks={stack: _stack_times(of) for stack, of in plain["stacks"].items()},
                memory=memory,
                experiments={name: _experiment_time(of) for name, of in plain["wholes"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a document of the speed suite: {error!r}") from error


def _step_times(plain: Mapping[str, Any]) -> StepTimes:
    over_opacus = plain["over_opacus"]
    return StepTimes(
        Spread(**plain["seconds"]),
        Spread(**plain["over_plain"]),
        None if over_opacus is None else Spread(**over_opacus),
    )


def _stack_times(plain: Mapping[str, Any]) -> StackTimes:
    fields: dict[str, Any] = {name: Spread(**of) if isinstance(of, Mapping) else of for name, of in plain.items()}
    return StackTimes(**fields)


def _experiment_time(plain: Mapping[str, Any]) -> ExperimentTime:
    (many, each), (all_many, all_each) = plain["size"], plain["full"]
    return ExperimentTime((many, each), (all_many, all_each), plain["seconds"])


def load(path: Path) -> SpeedRun:
    """The run kept at ``path``; raises as :meth:`SpeedRun.from_json`, and ``OSError``."""
    try:
        return SpeedRun.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(run: SpeedRun, path: Path) -> None:
    """Keep ``run`` at ``path``."""
    write_atomically(path, [run.to_json()])
