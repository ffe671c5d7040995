"""The paper's networks: logistic regression, multi-layer perceptrons and the small convolutional network.

Sizes follow the released code (two hidden layers of 256 in the MLP, no dropout in the CNN); where the paper's Table 4
differs, its forms have names of their own. Initial weights are Glorot-uniform and biases zero, the defaults of the
framework that the paper used.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from gradshape import _global_state, _validate
from gradshape._randomness import process_randomness
from gradshape._sameness import same_values
from gradshape.data.units import Units


class Classifier(nn.Module):
    """A feature extractor and a linear head on it.

    Args:
        body: everything below the last layer; maps ``(B, *shape)`` to ``(B, F)``.
        head: the last layer; maps ``(B, F)`` to ``(B, num_classes)``.
    """

    def __init__(self, body: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, *shape)`` inputs to ``(B, num_classes)`` logits."""
        logits: Tensor = self.head(self.body(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Map ``(B, *shape)`` inputs to the penultimate representation, ``(B, F)``.

        A model without hidden layers has none, so its logits stand in, as in the paper's code.
        """
        below: Tensor = self.body(x)
        return below if next(self.body.parameters(), None) is not None else self.head(below)


Builder = Callable[[tuple[int, ...], int], nn.Module]


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return skip_init(nn.Linear, inputs, outputs, dtype=torch.float32)  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return skip_init(nn.Conv2d, inputs, outputs, kernel_size=3, padding=1, dtype=torch.float32)  # type: ignore[no-any-return]


def _dense(*hidden: int) -> Builder:
    def build_dense(input_shape: tuple[int, ...], num_classes: int) -> Classifier:
        widths = (math.prod(input_shape), *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [_linear(inputs, outputs), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), _linear(widths[-1], num_classes))

    return build_dense


def _convolutional(*, dropout: float) -> Builder:
    def build_convolutional(input_shape: tuple[int, ...], num_classes: int) -> Classifier:
        if len(input_shape) != 3:
            raise ValueError(f"input_shape={input_shape!r}: the CNN expects pictures (channels, height, width)")
        channels, height, width = input_shape
        if height < 2 or width < 2:
            raise ValueError(f"input_shape={input_shape!r}: the CNN expects pictures of at least 2 x 2 pixels")
        layers: list[nn.Module] = [_conv(channels, 16), nn.ReLU(), _conv(16, 32), nn.ReLU(), nn.MaxPool2d(2)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers += [nn.Flatten(), _linear(32 * (height // 2) * (width // 2), 64), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), _linear(64, num_classes))

    return build_convolutional


_BUILDERS: dict[str, Builder] = {
    "lr": _dense(),
    "mlp": _dense(256, 256),
    "mlp1": _dense(256),
    "cnn": _convolutional(dropout=0.0),
    "cnn_dropout": _convolutional(dropout=0.5),
}
_OWN = frozenset(_BUILDERS)
# These builders draw no random numbers.
_DRAW_NOTHING = frozenset(_BUILDERS.values())
# What a plain ReLU network is made of.
_OF_DENSE = frozenset({Classifier, nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU})


def names() -> list[str]:
    """Return the names that :func:`build` knows."""
    return sorted(_BUILDERS)


def register(name: str, builder: Builder) -> None:
    """Register ``builder(input_shape, num_classes) -> nn.Module`` under ``name``.

    A model keeps the weights that the builder gave it, be they drawn or pretrained. What the builder draws from the
    random generators of the process (torch's, NumPy's, Python's) comes from the ``generator`` of :func:`build`. Each
    call has to return a new module, the same one for the same draws. :func:`gradshape.own_models.named` registers
    classes, other factories and trained modules.

    Raises:
        ValueError: the name is taken.
    """
    if name in _BUILDERS:
        raise ValueError(f"model {name!r} exists already: register it under another name")
    _BUILDERS[name] = builder


def registered() -> dict[str, Builder]:
    """Return the builders that were added by :func:`register`, by name."""
    return {name: builder for name, builder in _BUILDERS.items() if name not in _OWN}


def restore(builders: Mapping[str, Builder]) -> None:
    """Register in this process the builders that :func:`registered` returned in another."""
    _BUILDERS.update(builders)


def builder(name: str) -> Builder:
    """Return the builder that is registered as ``name``.

    Raises:
        ValueError: no model has this name; the message lists near matches.
    """
    if name not in _BUILDERS:
        raise _validate.unknown("model", name, _BUILDERS)
    return _BUILDERS[name]


def build(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    generator: torch.Generator | None = None,
    units: Units | None = None,
) -> nn.Module:
    """Build a freshly initialised model.

    Args:
        name: ``lr`` (softmax regression), ``mlp`` (two hidden layers of 256, ReLU), ``mlp1`` (one, as in Table 4),
            ``cnn`` (3x3-16, 3x3-32, max-pooling, 64), ``cnn_dropout`` (dropout 0.5 after the pooling, as in Table 4),
            or a registered one.
        input_shape: shape of one row, without the sample axis.
        num_classes: number of logits, at least 2.
        generator: source of the initial weights; a new one seeded with 0 if omitted.
        units: those of the rows; a registered model is given the rows in them, the library's own takes rows in [0, 1].

    Raises:
        ValueError: unknown name (near matches are listed), fewer than 2 classes, a shape that the model cannot take, or
            a registered builder whose models would not be a matter of the generator alone.

    Hong et al. 2020, Appendix C, Table 4.

    >>> sum(p.numel() for p in build("lr", (100,), 100).parameters())
    10100
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes!r}: expected at least 2")
    shape = tuple(input_shape)
    if builder(name) not in _DRAW_NOTHING:
        _check_repeatable(builder(name), name, shape, num_classes)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    model = _fresh(builder(name), name, shape, num_classes, generator)
    return model if units is None or builder(name) in _DRAW_NOTHING else InUnits(model, units)


def _fresh(
    make: Builder, name: str, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator
) -> nn.Module:
    if make in _DRAW_NOTHING:
        return _initialised(make(input_shape, num_classes), generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    with process_randomness(torch.device("cpu"), seed), _global_state.restored():
        model = make(input_shape, num_classes)
    _check_built(model, name)
    return model


@torch.no_grad()
def _initialised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


class InUnits(nn.Module):
    """A network of the user's own, which takes rows in the user's units, as a network that takes them in [0, 1].

    Args:
        network: the user's.
        units: of the rows.
    """

    def __init__(self, network: nn.Module, units: Units) -> None:
        super().__init__()
        self.network = network
        self.units = units

    def forward(self, x: Tensor) -> Any:
        """Map ``(B, *shape)`` inputs in [0, 1] to what the network makes of them."""
        return self.network(self.units.from_unit(x))


def _check_built(model: object, name: str) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"the builder of model {name!r} returned {model!r}: expected a torch.nn.Module")
    lazy = [key for key, parameter in model.named_parameters() if nn.parameter.is_lazy(parameter)]
    if lazy:
        raise ValueError(
            f"the builder of model {name!r} returned {lazy[0]!r} without a shape: expected layers that are told how "
            "large their inputs are"
        )


@lru_cache(maxsize=256)
def _check_repeatable(make: Builder, name: str, input_shape: tuple[int, ...], num_classes: int) -> None:
    """Raise ``ValueError`` unless a builder's models are modules of their own, and a matter of the generator alone."""
    one, other = (_fresh(make, name, input_shape, num_classes, torch.Generator().manual_seed(0)) for _ in range(2))
    modules = {id(module) for module in one.modules()}
    shared = [type(module).__name__ for module in other.modules() if id(module) in modules]
    if shared:
        raise ValueError(
            f"the builder of model {name!r} returned the same {shared[0]} twice, so that one victim would train the "
            "other's: expected new modules at every call (copy.deepcopy makes them out of loaded ones)"
        )
    values, again = (dict(itertools.chain(model.named_parameters(), model.named_buffers())) for model in (one, other))
    for key, value in values.items():
        if key not in again or not same_values(value, again[key]):
            raise ValueError(
                f"the builder of model {name!r} gave {key!r} other values at its second call with the same seed: it "
                "must draw from torch, numpy.random or random, not from generators that nobody seeds, and remember "
                "nothing"
            )


def penultimate(model: nn.Module, x: Tensor) -> Tensor:
    """Return the penultimate representation of rows, in which feature collisions collide and feature filters look.

    If the model has a method ``features``, this is what it returns; else it is the input of the ``nn.Linear`` that
    the logits, flattened from its second axis on. If that layer has all of the network's parameters, as in logistic
    regression, the logits stand in for features.

    Args:
        model: maps ``(B, *shape)`` to logits ``(B, num_classes)``. Its mode stays as it is: call ``eval()`` first to do
            without dropout or batch statistics.
        x: ``(B, *shape)``.

    Returns:
        ``(B, F)``, differentiable in ``x`` and in the parameters.

    Raises:
        ValueError: the model has no ``features``, and its logits do not come from an ``nn.Linear``.

    Shafahi et al. 2018, section 2; for logistic regression, Hong et al. 2020 take the logits.

    >>> penultimate(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(4, 3)).shape
    torch.Size([4, 5])
    """
    if isinstance(model, InUnits):
        return penultimate(model.network, model.units.from_unit(x))
    own = getattr(model, "features", None)
    # Some networks have a submodule called `features`, whose output need not be penultimate.
    if callable(own) and not isinstance(own, nn.Module):
        features: Tensor = own(x)
        return features.flatten(1)
    below, logits, head = through_head(model, x)
    others = {id(parameter) for parameter in model.parameters()} - {id(parameter) for parameter in head.parameters()}
    return below if others else logits


def through_head(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, nn.Linear]:
    """Return the input of the ``nn.Linear`` that gives the logits, the logits, and that layer.

    That layer is the one that is called last in a forward pass. It is checked that it gives the logits: the model may
    return them as they are, shifted, or as logarithms of probabilities.

    Args:
        model: maps ``(B, *shape)`` to logits ``(B, num_classes)``. Its mode stays as it is.
        x: ``(B, *shape)``.

    Returns:
        ``(B, F)``, the logits ``(B, num_classes)``, and the layer.

    Raises:
        ValueError: a forward pass calls no ``nn.Linear``, or the model returns other logits than the last one gives.

    >>> below, logits, _ = through_head(build("lr", (2, 3), 5), torch.rand(4, 2, 3))
    >>> below.shape, logits.shape
    (torch.Size([4, 6]), torch.Size([4, 5]))
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def remember(layer: nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor], out: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        below = arguments[0] if arguments else named["input"]
        # Later layers may change these in place.
        calls.append((layer, below.clone(), out.clone()))

    hooks = [m.register_forward_hook(remember, with_kwargs=True) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        logits: Tensor = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    remedy = f"give {type(model).__name__} a method features(x) that returns its penultimate representation"
    if not calls:
        raise ValueError(f"{type(model).__name__} calls no nn.Linear: {remedy}")
    layer, below, out = calls[-1]
    if out.shape != logits.shape or not _alike(out, logits):
        raise ValueError(
            f"the nn.Linear that {type(model).__name__} calls last, {layer}, does not give its logits: {remedy}"
        )
    return below.flatten(1), logits, layer


def _alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of logits ``(B, classes)`` stand for the same probabilities."""
    one, other = one.detach(), other.detach()
    return torch.equal(one, other) or torch.allclose(
        one.double().softmax(1), other.double().softmax(1), rtol=1e-4, atol=1e-6, equal_nan=True
    )


def is_plain(module: nn.Module, kinds: Collection[type[nn.Module]]) -> bool:
    """Return whether a module does in a forward pass what its type says: one of ``kinds`` itself, without hooks.

    >>> is_plain(nn.ReLU(), {nn.ReLU}), is_plain(nn.ReLU6(), {nn.Hardtanh})
    (True, False)
    """
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module) in kinds and not hooks and "forward" not in vars(module)


def dense_layers(model: nn.Module) -> list[nn.Linear] | None:
    """Return the layers of a plain ReLU network, all of them to be trained, else ``None``.

    That is an optional Flatten, then Linear layers with ReLU between.
    """
    if not isinstance(model, Classifier) or not isinstance(model.body, nn.Sequential):
        return None
    if not all(is_plain(module, _OF_DENSE) for module in model.modules()):
        return None
    if next(model.buffers(), None) is not None or not all(parameter.requires_grad for parameter in model.parameters()):
        return None
    modules = [*model.body, model.head]
    if isinstance(modules[0], nn.Flatten) and (modules[0].start_dim, modules[0].end_dim) == (1, -1):
        del modules[0]
    linear, between = modules[::2], modules[1::2]
    if not all(isinstance(m, nn.Linear) and m.bias is not None for m in linear):
        return None
    if not all(isinstance(m, nn.ReLU) for m in between):
        return None
    if len({id(p) for m in linear for p in m.parameters()}) < 2 * len(linear):  # a layer or a weight used twice
        return None
    return [m for m in linear if isinstance(m, nn.Linear)]
