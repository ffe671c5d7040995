"""The threat model of attacks on word filters, and the data that they can be made on."""

from dataclasses import replace

import torch
from torch import Tensor

from gradshape.attacks.threat import WHITE_BOX, Goal, Mechanism, ThreatModel
from gradshape.data import Dataset


def word_filter_threat(goal: Goal) -> ThreatModel:
    """Return Table 1 of Hong et al. 2020 on Barreno et al. 2010, who survey the attacks of Nelson et al. 2008."""
    return replace(
        WHITE_BOX,
        goal=goal,
        multiclass=False,
        victims="Bayes",
        mechanism=Mechanism.NONE,
        magnitude="-",
        orientation="-",
        source="Nelson et al. 2008, Exploiting machine learning to subvert your spam filter; "
        "Barreno et al. 2010, The security of machine learning",
    )


def lacks_words(dataset: Dataset) -> str | None:
    """Return why the rows do not say which words a message holds; ``None`` if they do."""
    if len(dataset.input_shape) != 1:
        return f"its rows have shape {dataset.input_shape}: expected (V,), one value a word"
    x = dataset.train.x
    other = x[(x != 0) & (x != 1)]
    if len(other):
        return f"its rows hold the value {other[0]:g}: expected 1 for a word that is present and 0 for one that is not"
    return None


def random_words(x: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Draw each word of ``x`` with the chance ``share``; returns bool of its shape, on its device."""
    return (torch.rand(x.shape, generator=generator, dtype=torch.float32) < share).to(x.device)


def check_spam(spam: int) -> None:
    """Raise ``ValueError`` unless ``spam`` is one of two classes."""
    if spam not in (0, 1):
        raise ValueError(f"spam={spam!r}: expected 0 or 1, the class that poison is given")
