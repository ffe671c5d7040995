"""The problems that are timed: networks, each with a batch of random rows and initial weights."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor, nn

from gradshape import models

BATCH_SIZE = 100
MAX_NORM = 1.0

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Problem:
    """A network and the rows it is timed on.

    Args:
        name: name in test ids and on the page.
        title: a short description.
        build: builds the network, with weights drawn from a generator.
        draw: draws ``(B, ...)`` inputs from a generator.
        classes: number of logits.
    """

    name: str
    title: str
    build: Callable[[torch.Generator], nn.Module]
    _: KW_ONLY
    draw: Draw
    classes: int

    def prepare(self, *, device: str, batch_size: int = BATCH_SIZE) -> "Prepared":
        """Return one batch and one set of initial weights, the same at every call."""
        generator = torch.Generator().manual_seed(0)
        initial = {name: value.clone() for name, value in self.build(generator).state_dict().items()}
        x = self.draw(batch_size, generator)
        y = torch.randint(self.classes, (batch_size,), generator=generator)
        return Prepared(self, x.to(device), y.to(device), initial, torch.device(device))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem on a device with a batch and initial weights, from which all ways of taking a step start.

    Attributes:
        x, y: ``(B, ...)`` inputs and ``(B,)`` labels.
        initial: initial weights by name, on the CPU.
    """

    problem: Problem
    x: Tensor
    y: Tensor
    initial: Mapping[str, Tensor] = field(repr=False)
    device: torch.device

    def model(self) -> nn.Module:
        """Return a new network with the initial weights, in training mode."""
        model = self.problem.build(torch.Generator().manual_seed(0))
        model.load_state_dict(dict(self.initial))
        return model.to(self.device).train()


class Transformer(nn.Module):
    """Two encoder blocks over ``(B, T)`` words with learned positions, mean pooling, 10 classes."""

    def __init__(self, *, words: int = 1000, length: int = 64, width: int = 128) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        # An embedding instead of a bare parameter, because Opacus has a rule for it.
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(width, 4, 512, dropout=0.0, batch_first=True) for _ in range(2))
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T)`` words to ``(B, 10)`` logits."""
        # Contiguous, because Opacus' ghost clipping does not support expanded views.
        positions = torch.arange(x.shape[1], device=x.device).repeat(len(x), 1)
        embedded = self.words(x) + self.positions(positions)
        logits: Tensor = self.head(self.blocks(embedded).mean(1))
        return logits


def _paper_model(name: str, *shape: int, classes: int) -> Callable[[torch.Generator], nn.Module]:
    return lambda generator: models.build(name, shape, classes, generator=generator)


def _transformer(generator: torch.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        # The layers can draw their weights from the global generator only.
        torch.random.set_rng_state(generator.get_state())
        return Transformer()


def _uniform(*shape: int) -> Draw:
    return lambda rows, generator: torch.rand(rows, *shape, generator=generator)


def _binary(*shape: int) -> Draw:
    return lambda rows, generator: torch.randint(2, (rows, *shape), generator=generator).float()


def _words(length: int, *, words: int) -> Draw:
    return lambda rows, generator: torch.randint(words, (rows, length), generator=generator)


LR = Problem(
    "lr", "logistic regression, 600 to 100", _paper_model("lr", 600, classes=100), draw=_binary(600), classes=100
)
LR_784 = Problem(
    "lr_784", "logistic regression, 784 to 2", _paper_model("lr", 784, classes=2), draw=_uniform(784), classes=2
)
MLP = Problem("mlp", "784-256-256-10", _paper_model("mlp", 784, classes=10), draw=_uniform(784), classes=10)
CNN = Problem(
    "cnn",
    "the paper's Table 4, 3x32x32",
    _paper_model("cnn", 3, 32, 32, classes=10),
    draw=_uniform(3, 32, 32),
    classes=10,
)
TRANSFORMER = Problem(
    "transformer", "2 blocks, width 128, 64 tokens", _transformer, draw=_words(64, words=1000), classes=10
)

PROBLEMS: Mapping[str, Problem] = {problem.name: problem for problem in (LR, MLP, CNN, TRANSFORMER)}
