"""Models that are known to take the rows of a batch each on its own: known modules, called one after the other."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from gradshape.models import Classifier

_CONTAINERS = (nn.Sequential, Classifier)

# Their output has a row for each row of their input, at the same place, whatever their settings.
_ROW_WISE = frozenset(
    {
        *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm),
        *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh),
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    }
)


def modules_in_order(model: nn.Module) -> list[nn.Module] | None:
    """Return the modules in the order of their calls; ``None`` if a forward pass may do anything else."""
    modules = [None] if _has_any_global_hook() else list(_modules_in_order(model))
    return None if None in modules else [module for module in modules if module is not None]


def takes_row_by_row(model: nn.Module) -> bool:
    """Return whether ``model`` is known to give every row what it gives that row alone, and to write to none."""
    modules, first = modules_in_order(model), True
    if not modules:
        return False
    for module in modules:
        flattens = type(module) is nn.Flatten and module.start_dim >= 1
        if not flattens and (type(module) not in _ROW_WISE or (first and getattr(module, "inplace", False))):
            return False
        first = first and next(module.parameters(), None) is None
    return True


def has_hooks(module: nn.Module) -> bool:
    """Return whether ``module`` or a parameter of its own has hooks, which may change its output or gradients."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return True
    # As a loop, which takes a third of the time of any().
    for parameter in module._parameters.values():  # noqa: SIM110
        if parameter is not None and parameter._backward_hooks:
            return True
    return False


def _modules_in_order(module: nn.Module) -> Iterator[nn.Module | None]:
    if has_hooks(module) or "forward" in vars(module):
        yield None
    elif type(module) in _CONTAINERS:
        for child in module._modules.values():
            if child is not None:
                yield from _modules_in_order(child)
    else:
        yield module
