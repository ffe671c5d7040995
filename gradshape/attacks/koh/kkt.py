"""Two rows that make a decoy optimal: parameters that are wrong on many rows become what training leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import PoisonSet, ProportionalAttack, VictimView
from gradshape.attacks.koh import _koh_attack
from gradshape.attacks.koh._balance import Wanted, balance_gradient
from gradshape.attacks.koh._decoys import Decoy, find_decoys
from gradshape.attacks.koh._koh_attack import Surrogate
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.threat import ThreatModel


@dataclass(frozen=True)
class KohKkt(ProportionalAttack):
    """Add copies of one row of each class under which the training objective has its optimum at decoy parameters.

    Decoys are trained on flipped rows (see :func:`find_decoys`). For each of them, and each division of the budget
    between the classes, the rows come from one convex programme (see :func:`balance_gradient`). Of all the pairs that
    one is taken with which the attacker's learner gets most clean training rows wrong.

    Args:
        fraction: poison rows relative to the number of *clean* rows, >= 0; 0.03 in the paper.
        quantile: of the radii and half-widths, in (0, 1].
        decay: weight decay of the attacker's learner, above 0; see :class:`KohInfluence`.
        temperature: of its smoothed hinge, above 0.
        loss_quantile: rows have at most this quantile, in [0, 1], of their class's losses under the decoy.
        divisions: the budget is divided in as many equal steps between the classes, beside the one that balances the
            bias; the released code has 6 (steps of 0.005 of 0.03).
        quantiles, repeats: of the decoys; ``SMALL_QUANTILES``, ``SMALL_REPEATS``, ``ENRON_QUANTILES`` and
            ``ENRON_REPEATS`` of :mod:`gradshape.attacks.koh._decoys` are the released ones.
        levels: ``None`` for rows of any values; else rows are whole multiples of ``1 / levels``, such as counts of
            words divided by the largest that is kept: what is found without that is rounded at random
            (:func:`gradshape.attacks.koh._rounding.round_inside`).

    Raises:
        ValueError: a value is out of its range.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses, section 4.2, as
    their code does with ``use_train``: pairs are judged on the training rows. It judges them behind a defence, here
    there is none.

    On ``mail_counts``, with 3 % of rows of whole counts, the SVM that it was made for goes from 4.8 % to 17 % errors;
    flips under the same constraints leave it at 5 %. On ``digits_38``, with 20 %, it does nothing, and flips do 0.052
    to logistic regression and 0.028 to the SVM. The reason is what it maximises: its learner gets 4.2 % of the
    *training* rows wrong, with the flips 2.1 %, but 1.4 % of the test rows, with the flips 2.8 %. Larger sets
    (``quantile=1``), less decay (0.0035 and 0.001), decoys of up to 99 % errors, or any loss under the decoy do not
    change that one at a time; all of them together do (0.014 and 0.042).
    """

    quantile: float = 0.9
    decay: float = 0.01
    temperature: float = 1e-3
    loss_quantile: float = 0.9
    divisions: int = 3
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
        _validate.fraction(loss_quantile=self.loss_quantile)
        _validate.positive_int(divisions=self.divisions)

    @property
    def label(self) -> str:
        return f"koh_kkt_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction, feasible_quantile=self.quantile)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        own = Surrogate.of(victim.train, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        decoys = find_decoys(own.learner, quantiles=self.quantiles, repeats=self.repeats)
        pairs = balanced_pairs(own, decoys, count, loss_quantile=self.loss_quantile, divisions=self.divisions)
        best, error = most_harmful(own, pairs, report=victim.report)
        if self.levels is not None:
            return own.whole(
                best.x, own.classes, best.copies, shape=victim.input_shape, levels=self.levels, generator=generator
            )
        return own.poison(best.x, own.classes, best.copies, shape=victim.input_shape, error=error)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two rows.

    Attributes:
        x: ``(2, d)`` of class 0 and class 1.
        copies: ``(2,)`` int64.
        objective: what of the decoy's gradient they leave; 0 makes it optimal.
    """

    x: Tensor
    copies: Tensor
    objective: float


def balanced_pairs(
    own: Surrogate, decoys: list[Decoy], count: int, *, loss_quantile: float, divisions: int
) -> list[Pair]:
    """The pair of rows for every decoy and division of ``count`` copies; the arguments are those of :class:`KohKkt`."""
    eps, learner = count / len(own), own.learner
    gradients, thetas, leasts, copies = [], [], [], []
    for decoy in decoys:
        slope = learner.loss_gradient(decoy.theta)
        gradient = (slope + learner.decays(eps) * decoy.theta)[:-1]
        losses = learner.loss.value(learner.rows @ decoy.theta)
        least = torch.stack([1 - losses[own.y == label].quantile(loss_quantile) for label in (0, 1)]).clamp_max(1)
        shares = {count * step // divisions for step in range(divisions + 1)}
        # The bias of the decoy is optimal, too, where the copies' difference is its gradient.
        balancing = round((eps + float(slope[-1])) / 2 * len(own))
        if 0 <= balancing <= count:
            shares.add(balancing)
        for positive in sorted(shares):
            gradients.append(gradient)
            thetas.append(decoy.theta)
            leasts.append(least)
            copies.append(own.y.new_tensor([count - positive, positive]))
    wanted = Wanted(
        torch.stack(gradients), torch.stack(thetas), torch.stack(copies).double() / len(own), torch.stack(leasts)
    )
    solved = balance_gradient(wanted, sets=own.sets)
    return [
        Pair(x, of_each, objective)
        for x, of_each, objective in zip(solved.x, copies, solved.objective.tolist(), strict=True)
    ]


def most_harmful(
    own: Surrogate, pairs: list[Pair], *, report: Callable[[int, int, float], None] | None = None
) -> tuple[Pair, float]:
    """The pair with which the learner errs most on the clean rows, and how often; of equals that of the larger loss.

    ``report`` is called for each pair with its number, how many there are, and the largest error so far.
    """
    start = own.learner.fit()
    best, worst = pairs[0], (-1.0, -1.0)
    for number, pair in enumerate(pairs, 1):
        harm = own.harm(pair.x, own.classes, pair.copies, start=start)
        if harm > worst:
            best, worst = pair, harm
        if report is not None:
            report(number, len(pairs), worst[0])
    return best, worst[0]
