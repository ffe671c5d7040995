"""A residual network on pictures and a transformer on token rows as victims, shaped and plain."""

import torch
from resnet import ResNet18
from transformer import Transformer

from gradshape.attacks import LabelFlip
from gradshape.data import Dataset, Split, from_rows
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe
from gradshape_bench import CaseOutcome, Matrix, Smoke, Task, Threshold, benchmark_cases

VOCABULARY, LENGTH = 100, 12


def sentences() -> Dataset:
    """Rows of tokens, of which those of one class have two words in them that those of the other have not."""
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int) -> Split:
        words = torch.randint(10, VOCABULARY, (rows, LENGTH), generator=generator)
        y = torch.arange(rows) % 2
        places = torch.rand(rows, LENGTH, generator=generator).argsort(1)[:, :3]
        return Split(words.scatter(1, places, torch.where(y == 1, 3, 7)[:, None].expand(-1, 3)).float(), y)

    ends = (0, VOCABULARY - 1)
    return from_rows(draw(400), draw(200), name="sentences", value_range=ends, whole=True)


PICTURES = Task("cifar10", Recipe(ResNet18, SGD(0.05), batch_size=50, epochs=100), Smoke(200, 100, epochs=1))
SENTENCES = Task(sentences, Recipe(Transformer, Adam(0.003), batch_size=40, epochs=6))
DEFENSES = [NoDefense(), GradientShaping(Clip(1.0)), GradientShaping(Clip(1.0) | Noise(0.1))]


@benchmark_cases(
    # An epoch on a few hundred pictures shows that it works; `--scale paper` takes all of them.
    Matrix([PICTURES], [LabelFlip(0.2)], DEFENSES, thresholds=[], utility=None),
    Matrix([SENTENCES], [LabelFlip(0.2)], DEFENSES, thresholds=[Threshold("accuracy_clean", ">", 0.9)]),
)
def test_networks(outcome: CaseOutcome) -> None:
    outcome.check()
