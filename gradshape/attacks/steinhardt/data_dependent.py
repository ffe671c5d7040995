"""Poison that drags the outlier filter along: the state-of-the-art attack in Hong et al. 2020."""

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.steinhardt._poison_points import (
    EXTRA_DIRECTIONS,
    VIOLATION_ALLOWED,
    DraggedSets,
    PoisonPoints,
    grow_points,
    place_points,
    pull_into_box,
)
from gradshape.attacks.threat import ON_SVM, ThreatModel
from gradshape.learners.hinge import HingeFit, fit_hinge, hinge_losses

# Gap in the mean loss of the learner that judges; candidates differ by far more.
_GAP = 5e-3
# Standard deviation, in radii, of each component of the offsets that placing starts from.
_SPREAD = 0.2


@dataclass(frozen=True)
class DataDependentSteinhardt(ProportionalAttack):
    """Add copies of at most four rows that pass a sphere-and-slab filter which they drag along themselves.

    The defender removes rows outside the sphere and the slab of their class, whose centroids and axis it takes from the
    *poisoned* rows, and minimises the hinge loss over ``|w|^2 + b^2 <= rho^2``. The attacker plays against that learner
    by dual averaging. In every round it places the four points anew for several splits of the budget over them: one
    split follows the shares of the classes and has no drag points, the others are drawn. It plays the placing that
    costs the learner most. Every few rounds the learner is trained to the end on the clean rows and the points; the
    points that leave it the highest loss on *clean* rows become the poison. All splits are in whole rows, so that sets,
    placing and poison agree exactly.

    Smaller budgets, the ``rungs``, are searched first, and what is found for one, with more copies of each row, is the
    first candidate of the next (:func:`grow_points`): from rung to rung, and from a rung to every budget above it, the
    loss on clean rows never falls. Where more copies would leave their own sets, copies of two more rows, the centroids
    of these sets, are added.

    The points are placed without the box and clipped to [0, 1] in the end, as Hong et al. did; that can take them out
    of their sets. Candidates are judged as they will be added, clipped. Notes, losses in hinge losses:

    * ``objective``: what the support points, before the clip, cost the learner of their round, per *clean* row.
    * ``clean_loss``: mean over the clean rows, of the learner that is trained on them and the poison.
    * ``share_feasible``, ``share_feasible_unclipped``: of the rows, up to 1e-4 radii, inside the sets that they drag
      along, as added and before the clip.
    * ``clip_distance``: how far, in Euclidean distance, the clip moves a row at most.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1].
        quantile: of the radii and half-widths, over the clean rows of a class, in (0, 1].
        rho: radius of the ball of the game, above 0. None is published for FashionMNIST; the default is the authors'
            for MNIST-1-7, pictures of the same size and scale. Weights of the game seldom reach it.
        eta, steps: step size, and most rounds. The authors' are 0.005 and 200: theirs go further, at three times the
            cost.
        splits: random ones a round, besides the fixed one.
        every: rounds from one training of the learner to the next. The placing that costs most is then judged, and the
            most costly one of a random split as well: in a round the fixed split often costs more and does less harm.
        patience: number of judged rounds without gain after which the search stops; six such rounds were seen before a
            large gain.
        boxed: pull the points of every round into the box and their sets together (:func:`pull_into_box`): the poison
            then passes the filter as it is added.
        judge_rho: radius of the ball of the learner that judges, above 0. At ``rho`` it is held so tightly that almost
            any drag costs it much: of 15 candidates on fashion_mnist_34 at 30 %, the one with the largest loss at
            ``rho^2 = 0.8`` (0.688) costs logistic regression 0.067, while at ``rho^2 = 4`` that one has 0.489, and the
            one with the largest loss (0.618) costs it 0.100. A larger ball yet is one of a victim that is trained long:
            8 orders candidates well by what 40 epochs make of them, badly by what 15 epochs on 2,400 rows do.
        rungs: smaller budgets to search first, relative to the number of clean rows, each at least 0; by default those
            of the paper's Fig. 4 from 10 % on. Each takes as long as a search of its own.

    Raises:
        ValueError: a value is out of its range.

    Steinhardt, Koh and Liang 2017, Certified defenses for data poisoning attacks, section 4.2; Hong et al. 2020,
    section 6.2. Theirs are the semidefinite relaxation of the placing, radii of at most 1,000 rows a class, and a
    learner that is trained by bisection on weight decay. The shape of the authors' gamma-distributed splits is not
    known: 1/2 here, squares of normal numbers, which often puts most of the budget on one point. That, ``steps``,
    ``every``, ``judge_rho`` and the second candidate were chosen by the damage to logistic regression on
    fashion_mnist_34: take what it does there for what an attacker can reach who tries a few settings.

    >>> from gradshape import data
    >>> poison = DataDependentSteinhardt(0.1, steps=10)(data.load("digits_38"), seed=0)
    >>> len(poison), len(poison.x.unique(dim=0)) <= 4
    (28, True)
    """

    quantile: float = 0.65
    rho: float = math.sqrt(0.8)
    _: KW_ONLY
    eta: float = 0.01
    steps: int = 60
    splits: int = 10
    every: int = 6
    patience: int = 8
    boxed: bool = False
    judge_rho: float = 2.0
    rungs: tuple[float, ...] = (0.1, 0.2, 0.3)

    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        ON_SVM,
        source="Steinhardt, Koh and Liang 2017, Certified defenses for data poisoning attacks, section 4.2",
    )
    # It knows the learner that it plays against, whatever is trained on its rows.
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.positive(rho=self.rho, eta=self.eta, judge_rho=self.judge_rho)
        _validate.positive_int(steps=self.steps, every=self.every, patience=self.patience)
        if isinstance(self.splits, bool) or not isinstance(self.splits, int) or self.splits < 0:
            raise ValueError(f"splits={self.splits!r}: expected an integer of at least 0")
        _validate.positive_fraction(quantile=self.quantile)
        for rung in self.rungs:
            _validate.finite_non_negative(rungs=rung)

    @property
    def stream(self) -> str:
        # Budgets draw alike, so that what a larger one finds on its way is what a smaller one ends with.
        return self.family

    @property
    def label(self) -> str:
        return f"{'sota_boxed' if self.boxed else 'sota'}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x, y = victim.train.x.flatten(1).double(), victim.train.y
        sets = DraggedSets.from_rows(x, y, quantile=self.quantile)
        smaller = {budget for rung in self.rungs if 0 < (budget := round(rung * len(x))) < count}
        budgets = [*sorted(smaller), count]
        clean = fit_hinge(x, y, rho=self.judge_rho, tolerance=_GAP)
        best: tuple[float, PoisonPoints] | None = None
        for number, budget in enumerate(budgets):
            search = _Search(
                victim, x, y, sets, clean, budget, generator, number * self.steps, len(budgets) * self.steps
            )
            best = max(self._judged(search, best), key=lambda judged: judged[0])
        assert best is not None
        worst, chosen = best
        rows = _in_the_box(chosen)
        notes = {
            "objective": chosen.value,
            "clean_loss": worst,
            "share_feasible": _share_feasible(sets, rows, chosen),
            "share_feasible_unclipped": _share_feasible(sets, chosen.x.float(), chosen),
            "clip_distance": float((rows - chosen.x)[chosen.masses > 0].norm(dim=1).max()),
        }
        copies = (chosen.masses * len(x)).round().long()
        drawn = rows.repeat_interleave(copies, dim=0).unflatten(1, victim.input_shape)
        return PoisonSet.added(drawn, chosen.y.repeat_interleave(copies), notes=notes)

    def _judged(
        self, search: "_Search", smaller: tuple[float, PoisonPoints] | None
    ) -> Iterator[tuple[float, PoisonPoints]]:
        """Yield candidates with the losses that a learner trained with them has on clean rows.

        The first candidate is what was found for a ``smaller`` budget, grown to this one.
        """
        worst, stale = 0.0, 0
        if smaller is not None:
            grown = grow_points(smaller[1], search.count, search.sets, rows=len(search.x))
            worst = self._clean_loss(search, grown)
            yield worst, grown
        for step, candidates in enumerate(self._rounds(search), 1):
            if step % self.every and step < self.steps:
                continue
            losses = [self._clean_loss(search, points) for points in candidates]
            stale = 0 if max(losses) > worst else stale + 1
            worst = max(worst, *losses)
            yield from zip(losses, candidates, strict=True)
            search.victim.report(search.before + step, search.steps, worst)
            if stale == self.patience:
                break

    def _rounds(self, search: "_Search") -> Iterator[list[PoisonPoints]]:
        """Yield the candidates of every round, in a game of dual averaging."""
        x, y, sets, count, generator = search.x, search.y, search.sets, search.count, search.generator
        signs = (2 * y - 1).double()
        # Where weights are 0 all points cost the same: the learner sees the clean rows first.
        pulls = torch.cat([x.T @ signs, signs.sum(0, keepdim=True)]) / len(x)
        curvature = max(1 / self.eta, float(pulls.norm()) / self.rho)
        for _ in range(self.steps):
            w, b = pulls[:-1] / curvature, float(pulls[-1]) / curvature
            candidates = _placings(w, b, sets, self._splits(count, len(x), sets, generator), generator)
            if self.boxed:
                candidates = [pull_into_box(points, w, b, sets) for points in candidates]
            yield candidates
            points = candidates[0]
            support = (points.x[[0, 2]], x.new_tensor([-1.0, 1.0]), points.masses[[0, 2]])
            for rows, labels, mass in ((x, signs, 1 / len(x)), support):
                pull = torch.where(labels * (rows @ w + b) < 1, labels * mass, 0.0)
                pulls[:-1] += rows.T @ pull
                pulls[-1] += pull.sum()
            curvature = max(curvature, float(pulls.norm()) / self.rho)

    def _splits(self, count: int, rows: int, sets: DraggedSets, generator: torch.Generator) -> Tensor:
        """Return ``(S, 4)`` float64 masses of ``count`` poison rows, relative to ``rows`` clean ones."""
        first = round(count * sets.shares[0])
        splits = [torch.tensor([first, 0, count - first, 0], dtype=torch.float64)]
        for _ in range(self.splits):
            share = torch.randn(4, dtype=torch.float64, generator=generator).square()
            drawn = torch.multinomial(share, count, replacement=True, generator=generator)
            splits.append(drawn.bincount(minlength=4).double())
        return torch.stack(splits) / rows

    def _clean_loss(self, search: "_Search", points: PoisonPoints) -> float:
        """Return the loss on clean rows of the learner that is trained on them and on the clipped points."""
        x, y = search.x, search.y
        rows = torch.cat([x, _in_the_box(points).double()])
        weights = torch.cat([x.new_full((len(x),), 1 / len(x)), points.masses])
        labels = torch.cat([y, points.y])
        fit = fit_hinge(rows, labels, rho=self.judge_rho, weights=weights, tolerance=_GAP, start=search.clean)
        return float(hinge_losses(x, y, fit.w, fit.b).mean())


@dataclass(frozen=True, eq=False)
class _Search:
    """A search for poison of one budget.

    Attributes:
        victim: reports progress.
        x, y: clean rows.
        sets: the sets of the clean rows.
        clean: the learner that judges, trained on these alone.
        count: poison rows.
        generator: of the splits and starts.
        before, steps: rounds of the searches before, and of all searches.
    """

    victim: VictimView
    x: Tensor
    y: Tensor
    sets: DraggedSets
    clean: HingeFit
    count: int
    generator: torch.Generator
    before: int
    steps: int


def _placings(w: Tensor, b: float, sets: DraggedSets, splits: Tensor, generator: torch.Generator) -> list[PoisonPoints]:
    """Place points for every split: the most costly placing, and the best one of a random split if it is another."""
    directions = torch.randn(EXTRA_DIRECTIONS, len(w), dtype=torch.float64, generator=generator).to(w.device)
    starts = _SPREAD * torch.randn(len(splits), 4, 2 + EXTRA_DIRECTIONS, dtype=torch.float64, generator=generator)
    first, *others = (
        place_points(w, b, sets, masses, directions=directions, start=start)
        for masses, start in zip(splits, starts, strict=True)
    )
    if not others:
        return [first]
    other = max(others, key=lambda points: points.value)
    return [other] if other.value > first.value else [first, other]


def _in_the_box(points: PoisonPoints) -> Tensor:
    return points.x.float().clamp(0, 1)


def _share_feasible(sets: DraggedSets, rows: Tensor, points: PoisonPoints) -> float:
    """Return the share of the poison, at ``rows`` ``(4, d)``, that is inside the sets that it drags along."""
    dragged = sets.dragged(rows, points.y, points.masses)
    tolerance = VIOLATION_ALLOWED * min(dragged.negative.radius, dragged.positive.radius) + 1e-6
    inside = dragged.contains(rows, points.y, tolerance=tolerance)
    return float(points.masses[inside].sum() / points.masses.sum())
