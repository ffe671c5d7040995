"""All ways of stepping by name. Opacus is imported when a way of its is first used: that takes seconds."""

from collections.abc import Mapping

from gradshape_bench.speed import ways
from gradshape_bench.speed.problems import Prepared
from gradshape_bench.speed.ways import Step, Way


def _hooks(prepared: Prepared, lr: float) -> Step:
    from gradshape_bench.speed.opacus import hooks

    return hooks(prepared, lr)


def _functorch(prepared: Prepared, lr: float) -> Step:
    from gradshape_bench.speed.opacus import functorch

    return functorch(prepared, lr)


def _ghost(prepared: Prepared, lr: float) -> Step:
    from gradshape_bench.speed.opacus import ghost

    return ghost(prepared, lr)


OURS: Mapping[str, Way] = {"clipped_gradient": ways.function, "training": ways.training}
OPACUS: Mapping[str, Way] = {"opacus_hooks": _hooks, "opacus_functorch": _functorch, "opacus_ghost": _ghost}
WAYS: Mapping[str, Way] = {"plain": ways.plain, **OURS, **OPACUS}
