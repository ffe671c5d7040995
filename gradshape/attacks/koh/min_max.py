"""Rows of large loss that a decoy likes: what an attacker plays against a learner, capped by the loss of the decoy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import PoisonSet, ProportionalAttack, VictimView
from gradshape.attacks.koh import _koh_attack
from gradshape.attacks.koh._decoys import find_decoys
from gradshape.attacks.koh._koh_attack import Surrogate
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.threat import ThreatModel
from gradshape.constraints import maximise_capped

_COPIES = 2
# The poison is looked at after an eighth, a quarter, a half and all of the rounds.
_HALVINGS = 3
_FAILURES = 2
_ROUNDS_A_REPORT = 10


@dataclass(frozen=True)
class KohMinMax(ProportionalAttack):
    """Add the rows, each twice, that are played against a learner, where a decoy's loss on them is small.

    The game is that of :class:`Steinhardt`, with weight decay in place of a ball and Adagrad as the learner, and with a
    cap: on no row shall the decoy's loss be large, so that training on them leads towards it. It is played against each
    decoy (see :func:`find_decoys`), and that poison is taken with which the attacker's learner gets most clean training
    rows wrong. It is also looked at after an eighth, a quarter and half of the rounds, when its rows count more often;
    two looks without gain end the game.

    Args:
        fraction: poison rows relative to the number of *clean* rows, >= 0; 0.03 in the paper.
        quantile: of the radii and half-widths, in (0, 1].
        decay: weight decay of the attacker's learner, above 0; see :class:`KohInfluence`.
        temperature: of its smoothed hinge, above 0.
        cap: most hinge loss of a row under the decoy, >= 0.
        eta: step size of Adagrad, above 0; its sums of squares start at 1.
        quantiles, repeats: of the decoys; see :class:`KohKkt`.
        levels: ``None`` for rows of any values; else rows are whole multiples of ``1 / levels``, such as counts of
            words divided by the largest that is kept: what is found without that is rounded at random
            (:func:`gradshape.attacks.koh._rounding.round_inside`).

    Raises:
        ValueError: a value is out of its range.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses, section 4.3, as
    their code does with ``use_train``, but for the looks before the end. As there, ``max(1, 0.1 / fraction - 1)`` times
    the budget is played first and thrown away.

    On ``mail_counts`` 3 % of whole counts take the SVM from 4.8 % to 16 % errors. On ``digits_38``, with 20 %, it does
    less than flips under the same constraints (0.005 to logistic regression, 0.000 to the SVM; flips 0.052 and 0.028),
    although its learner does as badly with it (2.5 % of the training rows and 2.8 % of the test rows, flips 2.1 % and
    2.8 %). A cap of 1, other decoys and a decay of 0.001 leave that as it is; sets of ``quantile=1`` make it 0.014 of
    both.
    """

    quantile: float = 0.9
    decay: float = 0.01
    temperature: float = 1e-3
    cap: float = 0.25
    eta: float = 0.03
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.2)
    repeats: tuple[int, ...] = (1, 3)
    levels: int | None = None

    threat: ClassVar[ThreatModel] = _koh_attack.THREAT
    # It knows its own learner, whatever is trained on its rows.
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _koh_attack.check(
            fraction=self.fraction,
            quantile=self.quantile,
            decay=self.decay,
            temperature=self.temperature,
            levels=self.levels,
        )
        _koh_attack.check_decoys(quantiles=self.quantiles, repeats=self.repeats)
        _validate.positive(eta=self.eta)
        _validate.finite_non_negative(cap=self.cap)

    @property
    def label(self) -> str:
        return f"koh_min_max_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction, feasible_quantile=self.quantile)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        own = Surrogate.of(victim.train, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        decoys = find_decoys(own.learner, quantiles=self.quantiles, repeats=self.repeats)
        thetas = torch.stack([decoy.theta for decoy in decoys])
        eps = count / len(own)
        kept = math.ceil(count / _COPIES)
        burn_in = round(max(1, 0.1 / eps - 1) * kept)
        rounds = burn_in + kept
        looks = {math.ceil(rounds / 2**halving) for halving in range(_HALVINGS + 1)}
        start = own.learner.fit()
        best: Played | None = None
        failures, clean = 0, own.learner.error(start)
        game: list[tuple[Tensor, Tensor]] = []
        for answers in islice(play_capped(own, thetas, eps=eps, cap=self.cap, eta=self.eta), rounds):
            game.append(answers)
            step = len(game)
            if step in looks:
                found = most_harmful(own, game[step * burn_in // rounds :], count, start=start)
                gained = best is None or found.harm > best.harm
                best, failures = (found, 0) if gained else (best, failures + 1)
            if step % _ROUNDS_A_REPORT == 0 or step in looks:
                victim.report(step, rounds, clean if best is None else best.harm[0])
            if failures == _FAILURES:
                break
        assert best is not None
        if self.levels is not None:
            return own.whole(
                best.x, best.y, best.copies, shape=victim.input_shape, levels=self.levels, generator=generator
            )
        return own.poison(best.x, best.y, best.copies, shape=victim.input_shape, error=best.harm[0])


@dataclass(frozen=True, eq=False)
class Played:
    """Rows that an attacker played.

    Attributes:
        x: ``(m, d)`` of the sets.
        y: ``(m,)`` int64 classes.
        copies: ``(m,)`` int64 of each.
        harm: error and mean loss on the clean rows of the learner that is trained with them.
    """

    x: Tensor
    y: Tensor
    copies: Tensor
    harm: tuple[float, float]


def most_harmful(own: Surrogate, rounds: list[tuple[Tensor, Tensor]], count: int, *, start: Tensor) -> Played:
    """The game whose rows, ``count`` in all and as evenly as can be, do most harm.

    Args:
        own: what the attacker trains.
        rounds: at most ``count``, each ``(K, d)`` rows and ``(K,)`` classes, one for each game.
        count: rows in all; the first ones occur once more where it does not come out even.
        start: parameters to train from.
    """
    copies = own.y.new_full((len(rounds),), count // len(rounds))
    copies[: count % len(rounds)] += 1
    xs, ys = (torch.stack(answers, dim=1) for answers in zip(*rounds, strict=True))
    games = (Played(x, y, copies, own.harm(x, y, copies, start=start)) for x, y in zip(xs, ys, strict=True))
    return max(games, key=lambda game: game.harm)


def play_capped(
    own: Surrogate, decoys: Tensor, *, eps: float, cap: float, eta: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """What is played against the learner, round after round without end, in one game for each decoy.

    Args:
        own: clean rows, and the sets that rows must lie in.
        decoys: ``(K, d + 1)`` weights and biases.
        eps: poison rows for one clean row.
        cap: most hinge loss of a row under the decoy.
        eta: step size.

    Yields:
        ``(K, d)`` rows and ``(K,)`` int64 classes.
    """
    rows, learner = own.learner.rows, own.learner
    theta = learner.fit().expand(len(decoys), -1)
    squares = torch.ones_like(theta)
    while True:
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
        yield x, y
        pull = eps * torch.where(loss.amax(0) > 0, (2 * y - 1).to(rows.dtype), 0.0)
        gradient = -((theta @ rows.T < 1).to(rows.dtype) @ rows) / len(rows)
        gradient -= pull[:, None] * torch.cat([x, torch.ones_like(b)[:, None]], dim=1)
        gradient += learner.decays(eps) * theta
        squares = squares + gradient.square()
        theta = theta - eta * gradient / squares.sqrt()
