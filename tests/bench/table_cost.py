"""What the paper's one-shot table costs, from measured victim-steps: the numbers of docs/scaling.md.

python -m tests.bench.table_cost [SPEED.JSON]
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from gradshape_bench.report.markdown import table
from gradshape_bench.speed import results
from gradshape_bench.speed.results import SpeedRun

TRAININGS, SETTINGS, EPOCHS, BATCH = 10_000, 14, 50, 100
# What the gate on whole re-trainings demands of a GPU: 10,000 of 50 epochs of 100 steps in 120 s, 24 Mflop a step.
GPU_FLOPS = 10_000 * EPOCHS * 100 / 120 * 24e6
_HOUR = 3600.0


@dataclass(frozen=True)
class Model:
    """A model of the table.

    Args:
        name: what it is called.
        rows: training rows, from which the steps of an epoch follow.
        stack: the measured stack of such victims.
    """

    name: str
    rows: int
    stack: str

    @property
    def steps(self) -> int:
        """Victim-steps of all its re-trainings."""
        return TRAININGS * SETTINGS * EPOCHS * self.rows // BATCH


MODELS = (
    Model("logistic regression, 600 to 100", 10_000, "lr_k64"),
    Model("MLP, 600 to 100", 10_000, "mlp_k32"),
    Model("CNN, CIFAR-10", 50_000, "cnn_k8"),
)


def row(model: Model, run: SpeedRun) -> list[str]:
    """Return a row of the table: hours on the measured processors, and on GPUs by the demanded rate."""
    stack = run.stacks[model.stack]
    here = model.steps * stack.seconds.median / stack.victims / _HOUR
    gpu = model.steps * stack.flops / GPU_FLOPS / _HOUR
    rate = stack.victims / stack.seconds.median
    hours = [f"{gpu / count:,.2g}" if gpu / count < 10 else f"{gpu / count:,.0f}" for count in (1, 8, 64)]
    return [model.name, f"{model.steps:.2g}", f"{stack.flops / 1e6:,.0f}", f"{rate:,.0f}", f"{here:,.0f}", *hours]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speed", type=Path, nargs="?", default=Path("reports", "speed.json"), metavar="SPEED.JSON")
    run = results.load(parser.parse_args().speed)
    head = ["model", "victim-steps", "Mflop a step", "steps/s here", "hours here", "1 GPU", "8 GPUs", "64 GPUs"]
    print(table([row(model, run) for model in MODELS], head))
    print(f"here: {run.environment['processors']} x {run.environment['processor']}, commit {run.environment['commit']}")


if __name__ == "__main__":
    main()
