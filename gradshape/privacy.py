"""The privacy ledger: how much (epsilon, delta) a training by a recipe spends.

A mechanism is (epsilon, delta)-differentially private if, for neighbouring data sets ``D`` and ``D'`` and every set
``S`` of outcomes, ``P[M(D) in S] <= exp(epsilon) P[M(D') in S] + delta``. The outcome is everything that a training
releases: the parameters after every step. The ledger leaves out what happened before (an initial state that was trained
on the same rows) and after (the choice of the epoch whose accuracy is reported), as well as rounding and the quality of
the random generator.

What can be proved depends on how the rows of a step are chosen, so :func:`spent` gives two numbers:

``nominal``
    The number that Opacus, TF-Privacy and the paper report: the accountant's epsilon as if every batch were a Poisson
    sample. Neighbours differ by one row that is added or removed.
``epsilon``
    The number that holds for the recipe's sampler. Under ``Sampling.POISSON`` it is the nominal number. Under
    ``Sampling.SHUFFLE`` it is the number below, without any amplification by sampling.

*Shuffled batches.* The neighbours ``D`` and ``D'`` have ``N`` rows each and differ in one, which is replaced (were it
added or removed, the batches of all other rows would shift). The shuffles do not depend on the rows; hockey-stick
divergences are jointly convex, so a bound that holds for every fixed sequence of shuffles holds for random ones. Fix
them. In each epoch the differing row is in one batch at most. Every other step computes the same function of what was
released before, so it spends nothing; in that one step the sum of the shaped gradients changes by ``2 C`` at most,
where ``C`` bounds the norm of a single one (``Shaper.sensitivity``). The training is therefore an adaptive composition
of ``epochs`` Gaussian mechanisms of sensitivity ``2 C`` and noise ``std``. Each is ``2 C / std``-Gaussian
differentially private, and such mechanisms compose to ``mu = 2 C sqrt(epochs) / std`` (Dong et al. 2019, "Gaussian
differential privacy"); :func:`gaussian_epsilon` turns ``mu`` into epsilon.

With much noise the nominal number is the smaller one by far. With very little noise it is the larger one: there the
accountant's bound is loose, and it counts every step where the shuffle lets a row into one batch an epoch.
"""

import math
import warnings
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cache

from scipy import optimize, special

from gradshape import _validate
from gradshape.shaping import FixedNoise, LearnedNoise, SampleWeights, Shaper
from gradshape.training import Fit, Recipe, Sampling, steps_per_epoch

DEFAULT_DELTA = 1e-5

ASSUMPTIONS = {
    Sampling.SHUFFLE: "Batches are cut from a fresh shuffle each epoch. The nominal epsilon takes them for Poisson "
    "samples, as is customary, which they are not (neighbours: one row added or removed). The one that holds uses only "
    "that a row is in one batch an epoch at most (neighbours: one row replaced).",
    Sampling.POISSON: "Batches are Poisson samples, so the nominal epsilon holds (neighbours: one row added or "
    "removed).",
}

_TOO_LITTLE = "there is too little noise for epsilon to be a number"
# Outside these multipliers the series of fractional orders does not end in sensible time, or at all.
_WHOLE_ORDERS_ABOVE = 30.0
_RDP_RANGE = 1e-100, 1e100
# PRVs are computed on a grid of exp(t): above this the numbers leave the range of floating point.
_PRV_LIMIT = 400.0
# Width of the grid relative to epsilon: a wide range at a fixed width would take minutes.
_PRV_RELATIVE_ERROR = 0.005


class Accountant(Enum):
    """Opacus' accountants.

    Attributes:
        RDP: Renyi divergences (Mironov 2017; Mironov et al. 2019).
        PRV: privacy random variables (Gopi et al. 2021): tighter and slower.
    """

    RDP = "rdp"
    PRV = "prv"


@dataclass(frozen=True)
class Privacy:
    """What a training spends; the module's docstring explains the two epsilons.

    Attributes:
        epsilon: the number that holds, at least 0; infinity if none does, or if it exceeds floating point.
        nominal: the number as if every batch were a Poisson sample; equal to ``epsilon`` if they are.
        delta: the delta of both.
        accountant: the accountant that computed ``nominal``: RDP also where PRV was asked for but cannot compute it.
        sampling: how the rows of a step are chosen.
        sensitivity: largest norm ``C`` of a single shaped gradient.
        noise_std: standard deviation of the noise on the sum of the shaped gradients.
        sample_rate: expected share of the rows in a batch, in (0, 1].
        steps, epochs: how often noise is added, and in how many passes over the rows.
        reason: why one of the two is infinite; ``None`` if both are finite.
    """

    epsilon: float
    nominal: float
    delta: float
    _: KW_ONLY
    accountant: Accountant
    sampling: Sampling
    sensitivity: float
    noise_std: float
    sample_rate: float
    steps: int
    epochs: int
    reason: str | None = None

    @property
    def noise_multiplier(self) -> float:
        """The noise in the unit of the sensitivity: Opacus' and TF-Privacy's ``z``."""
        return noise_multiplier(self.noise_std, self.sensitivity)

    @property
    def assumption(self) -> str:
        """The assumptions of both numbers, in words."""
        return ASSUMPTIONS[self.sampling]


def noise_multiplier(std: float, sensitivity: float) -> float:
    """Return the noise multiplier ``z = std / C`` of Opacus and TF-Privacy.

    Args:
        std: standard deviation of the noise on the *sum* of the shaped gradients, as in
            :class:`~gradshape.shaping.Noise` and as the paper's sigma; finite, at least 0.
        sensitivity: largest norm ``C`` of a single shaped gradient, at least 0. With 0 nothing is released: infinity.

    Raises:
        ValueError: a value is outside its range.

    >>> noise_multiplier(0.1, 4.0)
    0.025
    """
    _validate.finite_non_negative(std=std)
    _validate.non_negative(sensitivity=sensitivity)
    return std / sensitivity if sensitivity else math.inf


def noise_std(multiplier: float, sensitivity: float) -> float:
    """Return the standard deviation for :class:`~gradshape.shaping.Noise`, ``std = z C``, from the noise multiplier.

    Args:
        multiplier: Opacus' noise multiplier ``z``, finite, at least 0.
        sensitivity: largest norm ``C`` of a single shaped gradient, finite, greater than 0.

    Raises:
        ValueError: a value is outside its range.

    >>> noise_std(0.025, 4.0)
    0.1
    """
    _validate.finite_non_negative(multiplier=multiplier)
    _validate.positive(sensitivity=sensitivity)
    return multiplier * sensitivity


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon for which every ``mu``-Gaussian DP mechanism is (epsilon, delta)-DP.

    It is the root of ``delta = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)``, solved for
    ``a = mu/2 - epsilon/mu``, in which nothing overflows.

    Args:
        mu: sensitivity over standard deviation of a Gaussian mechanism, at least 0. Compositions add squares.
        delta: in (0, 1).

    Returns:
        At least 0; infinity where the number exceeds floating point.

    Raises:
        ValueError: a value is outside its range.

    Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy", theorem 8; Dong et al. 2019,
    "Gaussian differential privacy".

    >>> round(gaussian_epsilon(1.0, 1e-5), 3)
    4.377
    """
    _validate.non_negative(mu=mu)
    _check_delta(delta)
    if mu == 0 or _gaussian_delta(mu / 2, mu) <= delta:
        return 0.0
    # delta < Phi(a), so a is at least the quantile; where mu is huge, Phi(40) is 1 already.
    a = optimize.brentq(lambda a: _gaussian_delta(a, mu) - delta, special.ndtri(delta), min(mu / 2, 40.0), xtol=1e-14)
    return max(0.0, mu * (mu / 2 - float(a)))


def _gaussian_delta(a: float, mu: float) -> float:
    # exp(epsilon) Phi(a - mu), with epsilon = mu^2/2 - a mu cancelled against the normal density's exponent.
    return float(special.ndtr(a)) - 0.5 * math.exp(-a * a / 2) * float(special.erfcx((mu - a) / math.sqrt(2)))


def spent(
    recipe: Recipe,
    rows: int,
    *,
    delta: float = DEFAULT_DELTA,
    accountant: Accountant = Accountant.RDP,
    epochs: int | None = None,
) -> Privacy:
    """Return what one training by ``recipe`` on ``rows`` rows spends.

    Args:
        recipe: the recipe. Without both clipping and noise, the epsilons are infinite and ``reason`` says why.
        rows: number of training rows, at least 1.
        delta: in (0, 1); it means something only below ``1 / rows``.
        accountant: the accountant of the nominal epsilon.
        epochs: the number of epochs after which the training stopped; the recipe's if ``None``.

    Raises:
        TypeError: ``recipe`` is no recipe that takes steps, such as a bare shaper or an estimator's.
        ValueError: a value is outside its range.

    Abadi et al. 2016; Mironov et al. 2019; Gopi et al. 2021; for shuffled batches see the module.

    >>> from gradshape.shaping import Clip, Noise
    >>> from gradshape.training import Adam
    >>> recipe = Recipe("lr", Adam(0.01), batch_size=4, epochs=90, shaper=Clip(1.0) | Noise(1.5))
    >>> privacy = spent(recipe, 100)
    >>> round(privacy.nominal, 2), round(privacy.epsilon, 2)
    (7.33, 133.09)
    >>> spent(recipe.with_shaper(Shaper((Clip(1.0),))), 100).reason
    'no noise is added'
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe={recipe!r}: expected a Recipe{_instead(recipe)}")
    _validate.positive_int(rows=rows)
    _validate.member(Accountant, accountant=accountant)
    _check_delta(delta)
    epochs = recipe.epochs if epochs is None else epochs
    _validate.positive_int(epochs=epochs)
    bound, std = recipe.shaper.sensitivity, recipe.shaper.noise_std
    multiplier = noise_multiplier(std, bound)
    rate = min(recipe.batch_size, rows) / rows
    steps = epochs * steps_per_epoch(rows, recipe.batch_size)
    nominal = epsilon = math.inf
    reason = _unlimited(recipe.shaper)
    if reason is None:
        nominal, accountant = _poisson_epsilon(multiplier, rate, steps, delta, accountant)
        shuffled = recipe.sampling is Sampling.SHUFFLE
        epsilon = gaussian_epsilon(2 * math.sqrt(epochs) / multiplier, delta) if shuffled else nominal
        if math.isinf(max(epsilon, nominal)):
            reason = _TOO_LITTLE
    return Privacy(
        epsilon,
        nominal,
        delta,
        accountant=accountant,
        sampling=recipe.sampling,
        sensitivity=bound,
        noise_std=std,
        sample_rate=rate,
        steps=steps,
        epochs=epochs,
        reason=reason,
    )


def _instead(given: object) -> str:
    """Say what to do with what is no recipe that takes steps."""
    if isinstance(given, Fit):
        return ": an estimator takes no steps with noise to count; what a private one spends is its own epsilon"
    if isinstance(given, Shaper | SampleWeights | FixedNoise | LearnedNoise):
        return (
            ": what a shaper spends depends on batch size and epochs, too, so put it into one: Recipe(..., "
            "batch_size=..., epochs=..., shaper=...)"
        )
    return ""


def _check_delta(delta: float) -> None:
    expected = "a number in (0, 1), below one over the number of rows"
    if not 0 < _validate.number("delta", delta, expected) < 1:
        raise ValueError(f"delta={delta!r}: expected {expected}")


def _unlimited(shaper: Shaper) -> str | None:
    """Say why the shaper bounds no epsilon; return ``None`` if it bounds one."""
    bound = shaper.sensitivity
    if shaper.adaptive:
        return "the clipping or the noise depends on gradients of earlier steps"
    if bound == 0:
        return None
    if shaper.noise_std == 0:
        return "no noise is added"
    if math.isinf(bound):
        return "nothing bounds what a single row can do"
    return None if noise_multiplier(shaper.noise_std, bound) else _TOO_LITTLE


@cache
def _poisson_epsilon(
    multiplier: float, rate: float, steps: int, delta: float, accountant: Accountant
) -> tuple[float, Accountant]:
    """Return the accountant's epsilon, at least 0, and the accountant that could compute it."""
    if math.isinf(multiplier):
        return 0.0, accountant
    epsilon = _rdp(multiplier, rate, steps, delta)
    if accountant is Accountant.RDP or epsilon > _PRV_LIMIT:
        return epsilon, Accountant.RDP
    # Both are bounds, and for a tiny epsilon PRV adds a larger error than it gains.
    return min(epsilon, _prv(multiplier, rate, steps, delta, error=epsilon * _PRV_RELATIVE_ERROR)), accountant


def _rdp(multiplier: float, rate: float, steps: int, delta: float) -> float:
    from opacus.accountants import RDPAccountant  # its import takes seconds

    smallest, largest = _RDP_RANGE
    if multiplier < smallest:
        # Sampling never spends more than taking every row in every step.
        return gaussian_epsilon(math.sqrt(steps) / multiplier, delta)
    accountant = RDPAccountant()
    accountant.history = [(min(multiplier, largest), rate, steps)]
    orders = [order for order in RDPAccountant.DEFAULT_ALPHAS if float(order).is_integer()]
    with warnings.catch_warnings():
        # It warns that the optimal order is the smallest or largest: the bound holds, but is not the tightest.
        warnings.simplefilter("ignore")
        epsilon = accountant.get_epsilon(delta, alphas=orders if multiplier > _WHOLE_ORDERS_ABOVE else None)
    return max(0.0, float(epsilon))


def _prv(multiplier: float, rate: float, steps: int, delta: float, *, error: float) -> float:
    from opacus.accountants import PRVAccountant  # its import takes seconds

    accountant = PRVAccountant()
    # It uses fractional orders itself, and assuming less noise than there is gives a bound, too.
    accountant.history = [(min(multiplier, _WHOLE_ORDERS_ABOVE), rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return max(0.0, float(accountant.get_epsilon(delta, eps_error=max(0.01, error))))
