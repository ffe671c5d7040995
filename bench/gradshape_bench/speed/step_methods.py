"""All ways of taking a step, by name. Opacus is imported when first used, because that takes seconds."""

from collections.abc import Mapping

from gradshape_bench.speed import library_steps
from gradshape_bench.speed.library_steps import StepMethod, TimedStep
from gradshape_bench.speed.problems import Prepared


def _opacus(name: str) -> StepMethod:
    def method(prepared: Prepared, lr: float) -> TimedStep:
        from gradshape_bench.speed import opacus_steps

        step: TimedStep = getattr(opacus_steps, name)(prepared, lr)
        return step

    return method


OURS: Mapping[str, StepMethod] = {
    "clipped_gradient": library_steps.function,
    "clipped_gradient_own_loss": library_steps.function_of_own_loss,
    "shaped_loss": library_steps.shaped_loss,
    "first_clipped_gradient": library_steps.first,
    "training": library_steps.training,
}
OPACUS: Mapping[str, StepMethod] = {f"opacus_{name}": _opacus(name) for name in ("hooks", "functorch", "ghost")}
STEP_METHODS: Mapping[str, StepMethod] = {"plain": library_steps.plain, **OURS, **OPACUS}
