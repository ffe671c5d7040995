"""All ways of taking a step, by name. Opacus is imported when first used, because that takes seconds."""

from collections.abc import Mapping

from gradshape_bench.speed import library_steps
from gradshape_bench.speed.library_steps import StepMethod, TimedStep
from gradshape_bench.speed.problems import Prepared


def _hooks(prepared: Prepared, lr: float) -> TimedStep:
    from gradshape_bench.speed.opacus_steps import hooks

    return hooks(prepared, lr)


def _functorch(prepared: Prepared, lr: float) -> TimedStep:
    from gradshape_bench.speed.opacus_steps import functorch

    return functorch(prepared, lr)


def _ghost(prepared: Prepared, lr: float) -> TimedStep:
    from gradshape_bench.speed.opacus_steps import ghost

    return ghost(prepared, lr)


OURS: Mapping[str, StepMethod] = {"clipped_gradient": library_steps.function, "training": library_steps.training}
OPACUS: Mapping[str, StepMethod] = {"opacus_hooks": _hooks, "opacus_functorch": _functorch, "opacus_ghost": _ghost}
STEP_METHODS: Mapping[str, StepMethod] = {"plain": library_steps.plain, **OURS, **OPACUS}
