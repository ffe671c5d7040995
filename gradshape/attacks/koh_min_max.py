"""Rows of large loss that a decoy likes: what an attacker plays against a learner, capped by the loss of the decoy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks import two_points
from gradshape.attacks.base import PoisonSet, ProportionalAttack, VictimView
from gradshape.attacks.threat import ThreatModel
from gradshape.attacks.two_points import Surrogate
from gradshape.learners.capped import maximise_capped
from gradshape.learners.decoys import find_decoys

_COPIES = 2


@dataclass(frozen=True)
class KohMinMax(ProportionalAttack):
    """Add the rows, each twice, that are played against a learner, where a decoy's loss on them is small.

    The game is that of :class:`Steinhardt`, with weight decay in place of a ball and Adagrad as the learner, and with a
    cap: on no row shall the decoy's loss be large, so that training on them leads towards it. It is played against each
    decoy (see :func:`gradshape.learners.decoys.find_decoys`), and that poison is taken with which the attacker's
    learner gets most clean training rows wrong.

    Args:
        fraction: poison rows relative to the number of *clean* rows, >= 0; 0.03 in the paper.
        quantile: of the radii and half-widths, in (0, 1].
        decay: weight decay of the attacker's learner, above 0; see :class:`KohInfluence`.
        temperature: of its smoothed hinge, above 0.
        cap: most hinge loss of a row under the decoy, >= 0.
        eta: step size of Adagrad, above 0; its sums of squares start at 1.
        quantiles, repeats: of the decoys; see :class:`KohKkt`.

    Raises:
        ValueError: a value is out of its range.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses, section 4.3, as
    their code does with ``use_train``. As there, ``max(1, 0.1 / fraction - 1)`` times the budget is played first and
    thrown away.
    """

    quantile: float = 0.9
    decay: float = 0.01
    temperature: float = 1e-3
    cap: float = 0.25
    eta: float = 0.03
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.2)
    repeats: tuple[int, ...] = (1, 3)

    threat: ClassVar[ThreatModel] = two_points.THREAT
    # It knows its own learner, whatever is trained on its rows.
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        two_points.check(fraction=self.fraction, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        two_points.check_decoys(quantiles=self.quantiles, repeats=self.repeats)
        _validate.positive(eta=self.eta)
        _validate.finite_non_negative(cap=self.cap)

    @property
    def label(self) -> str:
        return f"koh_min_max_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        own = Surrogate.of(victim.train, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        decoys = find_decoys(own.learner, quantiles=self.quantiles, repeats=self.repeats)
        thetas = torch.stack([decoy.theta for decoy in decoys])
        eps = count / len(own)
        kept = math.ceil(count / _COPIES)
        burn_in = round(max(1, 0.1 / eps - 1) * kept)
        x, y = play_capped(own, thetas, eps=eps, cap=self.cap, eta=self.eta, steps=burn_in + kept, report=victim.report)
        copies = torch.full((kept,), _COPIES)
        copies[-1] -= _COPIES * kept - count
        start = own.learner.fit()
        games = list(zip(x[:, burn_in:], y[:, burn_in:], strict=True))
        reached = [own.harm(rows, labels, copies, start=start) for rows, labels in games]
        best = max(range(len(games)), key=reached.__getitem__)
        return own.poison(*games[best], copies, shape=victim.input_shape, error=reached[best][0])


def play_capped(
    own: Surrogate,
    decoys: Tensor,
    *,
    eps: float,
    cap: float,
    eta: float,
    steps: int,
    report: Callable[[int, int, float], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The rows played against the learner in ``steps`` rounds, in one game for each decoy.

    Args:
        own: clean rows, and the sets that rows must lie in.
        decoys: ``(K, d + 1)`` weights and biases.
        eps: poison rows for one clean row.
        cap: most hinge loss of a row under the decoy.
        eta: step size.
        steps: rounds.
        report: called now and then with the round, ``steps``, and the learners' mean loss on what was last played.

    Returns:
        ``(K, steps, d)`` rows and ``(K, steps)`` int64 classes.
    """
    rows, learner = own.learner.rows, own.learner
    theta = learner.fit().expand(len(decoys), -1)
    squares = torch.ones_like(theta)
    played_x, played_y = [], []
    for step in range(1, steps + 1):
        w, b = theta[:, :-1], theta[:, -1]
        found, losses = [], []
        for label, sign in ((0, -1), (1, 1)):
            least = 1 - cap - sign * decoys[:, -1]
            x = maximise_capped(own.sets.of(label), -sign * w, normal=sign * decoys[:, :-1], least=least)
            found.append(x)
            losses.append(1 - sign * ((x * w).sum(1) + b))
        loss = torch.stack(losses)
        y = loss.argmax(0)
        x = torch.where(y[:, None] == 1, found[1], found[0])
        played_x.append(x)
        played_y.append(y)
        worst = loss.amax(0)
        pull = eps * torch.where(worst > 0, (2 * y - 1).to(rows.dtype), 0.0)
        gradient = -((theta @ rows.T < 1).to(rows.dtype) @ rows) / len(rows)
        gradient -= pull[:, None] * torch.cat([x, torch.ones_like(b)[:, None]], dim=1)
        gradient += learner.decays(eps) * theta
        squares = squares + gradient.square()
        theta = theta - eta * gradient / squares.sqrt()
        if report is not None and (step % 10 == 0 or step == steps):
            report(step, steps, float(worst.mean()))
    return torch.stack(played_x, dim=1), torch.stack(played_y, dim=1)
