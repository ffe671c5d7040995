"""One rule a layer type, which gives norms and weighted sums of its per-sample gradients from one backward pass.

:func:`register` adds a rule for a layer type of your own. Rules are looked up by the exact type of a module, as a
subclass may compute something else.
"""

from torch import nn

from gradshape.clipping.rules._conv import ConvRule
from gradshape.clipping.rules._embedding import EmbeddingRule
from gradshape.clipping.rules._linear_layer import LinearRule
from gradshape.clipping.rules._normalization import (
    ChannelsRule,
    LastAxesRule,
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, Rule

__all__ = ["Call", "Instantiated", "LayerGradients", "Rule", "register", "rule_of"]

_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: LinearRule(),
    nn.modules.linear.NonDynamicallyQuantizableLinear: LinearRule(),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), ConvRule()),
    nn.Embedding: EmbeddingRule(),
    nn.LayerNorm: LastAxesRule(layer_norm),
    nn.RMSNorm: LastAxesRule(rms_norm),
    nn.GroupNorm: ChannelsRule(group_norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), ChannelsRule(instance_norm)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), ChannelsRule(batch_norm)),
}


def register(layer: type[nn.Module], rule: Rule) -> None:
    """Use ``rule`` for modules of type ``layer``, which map one tensor to one tensor, both with the batch axis first.

    Raises:
        ValueError: the type has a rule.
    """
    if layer in _RULES:
        raise ValueError(
            f"layer={layer.__name__}: expected a type that has no rule yet: register the rule for a subclass"
        )
    _RULES[layer] = rule


def rule_of(module: nn.Module) -> Rule | None:
    """Return the rule that covers ``module``, or ``None`` if none does."""
    rule = _RULES.get(type(module))
    if rule is None or "forward" in vars(module) or not rule.applies(module):
        return None
    return rule
