"""Two rows that make a decoy, parameters that are wrong on many rows, the optimum of training."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.koh._balance import BalanceProblem, balance_gradient
from gradshape.attacks.koh._decoys import Decoy
from gradshape.attacks.koh._koh_attack import ChosenRows, DecoyAttack, Report, Surrogate


@dataclass(frozen=True)
class KohKkt(DecoyAttack):
    """Add copies of one row of each class that make decoy parameters the optimum of training.

    For each decoy, and each division of the budget between the classes, the rows solve one convex programme: they
    cancel the gradient of the training objective at the decoy as far as the sets allow. The pair of rows is taken with
    which the attacker's learner gets most clean training rows wrong.

    Args:
        loss_quantile: rows have at most this quantile, in [0, 1], of their class's losses under the decoy.
        divisions: the budget is divided between the classes in as many equal steps, beside the division that balances
            the bias; the released code has 6 (steps of 0.005 of 0.03).

    The other arguments, the notes and the errors are those of :class:`KohAttack` and :class:`DecoyAttack`.

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

    _: KW_ONLY
    loss_quantile: float = 0.9
    divisions: int = 3

    name: ClassVar[str] = "koh_kkt"

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.fraction(loss_quantile=self.loss_quantile)
        _validate.positive_int(divisions=self.divisions)

    def choose(self, own: Surrogate, count: int, *, generator: torch.Generator, report: Report) -> ChosenRows:
        decoys = self.decoys(own)
        pairs = balanced_pairs(own, decoys, count, loss_quantile=self.loss_quantile, divisions=self.divisions)
        best, error = most_harmful_pair(own, pairs, report=report)
        return ChosenRows(best.x, own.classes, best.copies, error)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two rows that are added together.

    Attributes:
        x: ``(2, d)`` rows of class 0 and class 1.
        copies: ``(2,)`` int64 number of copies of each.
        objective: length of what they leave of the gradient at the decoy; at 0 the decoy is optimal.
    """

    x: Tensor
    copies: Tensor
    objective: float


def balanced_pairs(
    own: Surrogate, decoys: list[Decoy], count: int, *, loss_quantile: float, divisions: int
) -> list[Pair]:
    """Find the pair of rows for every decoy and division of ``count`` copies; arguments are as for :class:`KohKkt`."""
    eps, learner = count / len(own), own.learner
    gradients, thetas, leasts, copies = [], [], [], []
    for decoy in decoys:
        slope = learner.loss_gradient(decoy.theta)
        gradient = (slope + learner.decay_weights(eps) * decoy.theta)[:-1]
        losses = learner.loss.value(learner.rows @ decoy.theta)
        least = torch.stack([1 - losses[own.y == label].quantile(loss_quantile) for label in (0, 1)]).clamp_max(1)
        shares = {count * step // divisions for step in range(divisions + 1)}
        # The bias of the decoy is optimal, too, where the difference of the numbers of copies is its gradient.
        balancing = round((eps + float(slope[-1])) / 2 * len(own))
        if 0 <= balancing <= count:
            shares.add(balancing)
        for positive in sorted(shares):
            gradients.append(gradient)
            thetas.append(decoy.theta)
            leasts.append(least)
            copies.append(own.y.new_tensor([count - positive, positive]))
    problem = BalanceProblem(
        torch.stack(gradients), torch.stack(thetas), torch.stack(copies).double() / len(own), torch.stack(leasts)
    )
    solved = balance_gradient(problem, sets=own.sets)
    return [
        Pair(x, numbers, objective)
        for x, numbers, objective in zip(solved.x, copies, solved.objective.tolist(), strict=True)
    ]


def most_harmful_pair(own: Surrogate, pairs: list[Pair], *, report: Report | None = None) -> tuple[Pair, float]:
    """Find the pair with which the learner has the largest error on the clean rows (of equal ones, the largest loss).

    Returns the pair and the error. ``report`` is called for each pair with its number, the number in all, and the
    largest error so far.
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
