"""One rule a layer type: the norms and weighted sums of its per-sample gradients from one backward pass.

:func:`register` makes a rule for a layer of one's own known. A rule is looked up by the exact type of a module, as a
subclass may compute something else.
"""

from torch import nn

from gradshape.clipping.rules._conv import Conv
from gradshape.clipping.rules._embedding import Embedding
from gradshape.clipping.rules._linear_layer import Linear
from gradshape.clipping.rules._normalization import (
    Channels,
    LastAxes,
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, Rule

__all__ = ["Call", "Instantiated", "LayerGradients", "Rule", "register", "rule_of"]

_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Linear(),
    nn.modules.linear.NonDynamicallyQuantizableLinear: Linear(),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), Conv()),
    nn.Embedding: Embedding(),
    nn.LayerNorm: LastAxes(layer_norm),
    nn.RMSNorm: LastAxes(rms_norm),
    nn.GroupNorm: Channels(group_norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), Channels(instance_norm)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), Channels(batch_norm)),
}


def register(layer: type[nn.Module], rule: Rule) -> None:
    """Make ``rule`` the rule of modules whose type is ``layer``: of one tensor in, one tensor out, batch axis first.

    Raises:
        ValueError: the type has a rule.
    """
    if layer in _RULES:
        raise ValueError(f"{layer.__name__} has a rule already")
    _RULES[layer] = rule


def rule_of(module: nn.Module) -> Rule | None:
    """The rule that covers ``module``; ``None`` if there is none."""
    rule = _RULES.get(type(module))
    if rule is None or "forward" in vars(module) or not rule.applies(module):
        return None
    return rule
