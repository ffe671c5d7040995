"""Models that Opacus has wrapped to take per-sample gradients itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradshape.clipping.structure import Structure


@contextmanager
def without_opacus_hooks(structure: Structure) -> Iterator[None]:
    """Keep the hooks of an Opacus ``GradSampleModule`` from firing; do nothing for models without one."""
    wrappers = _wrappers(structure)
    for wrapper in wrappers:
        wrapper.disable_hooks()
    try:
        yield
    finally:
        for wrapper in wrappers:
            wrapper.enable_hooks()


def _wrappers(structure: Structure) -> list[Any]:
    # Opacus leaves this list on the model that it wraps.
    if not any(
        hasattr(module, "autograd_grad_sample_hooks") for module in (structure.model, structure.modules.get("_module"))
    ):
        return []
    owners = {
        id(owner): owner
        for module in structure.modules.values()
        for hook in module._forward_hooks.values()
        if getattr(owner := getattr(hook, "__self__", None), "hooks_enabled", False)
    }
    return list(owners.values())
