"""The privacy ledger against published numbers, against closed forms, and at its edges."""

import math
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant
from scipy import integrate, special
from scipy import stats as distributions

from gradshape.privacy import ASSUMPTIONS, Accountant, gaussian_epsilon, noise_multiplier, noise_std, spent
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper
from gradshape.training import SGD, Fit, Recipe, Sampling
from tests.training.samples import ClipToMedian

RDP, PRV = Accountant.RDP, Accountant.PRV
POISSON, SHUFFLE = Sampling.POISSON, Sampling.SHUFFLE


def recipe(
    std: float = 1.1,
    clip: float = 1.0,
    *,
    batch_size: int = 10,
    epochs: int = 5,
    sampling: Sampling = SHUFFLE,
    shaper: Shaper | None = None,
) -> Recipe:
    shaper = Clip(clip) | Noise(std) if shaper is None else shaper
    return Recipe("lr", SGD(0.1), batch_size=batch_size, epochs=epochs, shaper=shaper, sampling=sampling)


def test_rdp_gives_the_number_of_opacus_own_tests() -> None:
    # opacus/tests/accountants_test.py: z = 1.5, q = 0.04, 90 / 0.04 steps.
    privacy = spent(recipe(1.5, batch_size=4, epochs=90), 100)
    assert (privacy.sample_rate, privacy.steps, privacy.noise_multiplier) == (0.04, 2250, 1.5)
    assert privacy.nominal == pytest.approx(7.32911117143, abs=1e-8)


def test_prv_gives_the_number_of_opacus_own_tests_within_its_grid() -> None:
    # As above, 2,249 steps.
    assert spent(recipe(1.5, batch_size=4, epochs=90), 100, accountant=PRV).nominal == pytest.approx(6.7774, rel=0.01)


@pytest.mark.parametrize(
    ("std", "rows", "batch_size", "epochs", "published"),
    [
        # Abadi et al. 2016, section 3.2: q = 0.01, sigma = 4, 10,000 steps: the moments accountant gives 1.26.
        pytest.param(4.0, 10_000, 100, 100, 1.26, id="abadi"),
        # TF-Privacy's tutorial for MNIST.
        pytest.param(1.3, 60_000, 256, 15, 1.19, id="tf-privacy-15-epochs"),
        pytest.param(1.1, 60_000, 256, 60, 3.01, id="tf-privacy-60-epochs"),
        pytest.param(0.7, 60_000, 256, 45, 7.10, id="tf-privacy-45-epochs"),
    ],
)
def test_nominal_is_just_below_what_older_conversions_gave(
    std: float, rows: int, batch_size: int, epochs: int, published: float
) -> None:
    nominal = spent(recipe(std, batch_size=batch_size, epochs=epochs), rows).nominal
    assert 0.75 * published < nominal < published


@settings(max_examples=15)
@given(std=st.floats(0.6, 20), batch_size=st.integers(1, 60), epochs=st.integers(1, 8))
def test_prv_is_never_above_rdp(std: float, batch_size: int, epochs: int) -> None:
    shaped = recipe(std, batch_size=batch_size, epochs=epochs)
    assert spent(shaped, 50, accountant=PRV).nominal <= spent(shaped, 50).nominal


@pytest.mark.parametrize("sampling", Sampling)
@settings(max_examples=15)
@given(std=st.floats(1e-6, 50), factor=st.floats(1.001, 10))
def test_more_noise_never_spends_more(sampling: Sampling, std: float, factor: float) -> None:
    weak, strong = (spent(recipe(s, sampling=sampling), 100) for s in (std, factor * std))
    assert strong.epsilon <= weak.epsilon * (1 + 1e-9)
    assert strong.nominal <= weak.nominal * (1 + 1e-9)


@pytest.mark.parametrize("sampling", Sampling)
def test_more_epochs_spend_more(sampling: Sampling) -> None:
    ledgers = [spent(recipe(sampling=sampling, epochs=5), 100, epochs=epochs) for epochs in (1, 2, 5, 50)]
    assert [ledger.steps for ledger in ledgers] == [10, 20, 50, 500]
    for values in ([ledger.epsilon for ledger in ledgers], [ledger.nominal for ledger in ledgers]):
        assert values == sorted(values)
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("sampling", Sampling)
def test_a_smaller_delta_needs_a_larger_epsilon(sampling: Sampling) -> None:
    small, large = (spent(recipe(sampling=sampling), 100, delta=delta) for delta in (1e-9, 1e-3))
    assert small.epsilon > large.epsilon
    assert small.nominal > large.nominal


def test_only_the_ratio_of_noise_to_clipping_counts() -> None:
    one, other = spent(recipe(1.1, 1.0), 100), spent(recipe(4.4, 4.0), 100)
    assert (one.epsilon, one.nominal) == pytest.approx((other.epsilon, other.nominal), rel=1e-9)


@given(std=st.floats(1e-9, 1e9), clip=st.floats(1e-9, 1e9))
def test_noise_conversions_are_each_others_inverse(std: float, clip: float) -> None:
    assert noise_std(noise_multiplier(std, clip), clip) == pytest.approx(std, rel=1e-14)


def test_noise_multiplier_is_sigma_over_c() -> None:
    # The paper's C = 4 with sigma = 0.1 is the folder 4.0_0.025 of its released results.
    assert noise_multiplier(0.1, 4.0) == 0.025
    assert noise_multiplier(0.1, math.inf) == 0
    assert noise_multiplier(0.1, 0) == math.inf


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_conversions_name_a_bad_value(bad: float) -> None:
    with pytest.raises(ValueError, match=r"std=.*expected"):
        noise_multiplier(bad, 1.0)
    with pytest.raises(ValueError, match=r"sensitivity=.*expected"):
        noise_multiplier(1.0, bad)
    with pytest.raises(ValueError, match=r"multiplier=.*expected"):
        noise_std(bad, 1.0)
    with pytest.raises(ValueError, match=r"sensitivity=.*expected"):
        noise_std(1.0, bad)


@given(mu=st.floats(1e-3, 30), delta=st.floats(1e-12, 0.4))
def test_gaussian_epsilon_is_the_root_of_its_equation(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    found = special.ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + special.log_ndtr(-mu / 2 - epsilon / mu))
    if epsilon:
        assert found == pytest.approx(delta, rel=1e-5)
    else:
        assert found <= delta * (1 + 1e-9)


def test_gaussian_epsilon_is_the_privacy_of_two_normal_distributions() -> None:
    mu, delta = 1.3, 1e-3
    bound = math.exp(gaussian_epsilon(mu, delta))

    def excess(x: float) -> float:
        return max(0.0, float(distributions.norm.pdf(x, loc=mu) - bound * distributions.norm.pdf(x)))

    total, _ = integrate.quad(excess, -10, 12, points=[math.log(bound) / mu + mu / 2])
    assert total == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize("mu", [1e-9, 1.0, 1e4, 1e9, 1e100])
def test_gaussian_epsilon_keeps_to_its_asymptote(mu: float) -> None:
    # mu^2/2 - mu Phi^-1(delta), from above by less than mu.
    epsilon = gaussian_epsilon(mu, 1e-5)
    assert 0 <= epsilon <= mu * (mu / 2 - special.ndtri(1e-5)) * (1 + 1e-12)


def test_gaussian_epsilon_beyond_floating_point_is_infinite() -> None:
    assert gaussian_epsilon(1e200, 1e-5) == math.inf
    assert gaussian_epsilon(0.0, 1e-5) == 0


@pytest.mark.parametrize("epochs", [1, 7, 100])
def test_shuffled_epsilon_is_tighter_than_the_accountants_for_the_same_mechanism(epochs: int) -> None:
    # One step an epoch that surely holds the row, with sensitivity 2 C.
    accountant = RDPAccountant()
    accountant.history = [(0.5 * 8.0, 1.0, epochs)]
    bound = accountant.get_epsilon(1e-5)
    assert 0.85 * bound < spent(recipe(8.0, epochs=epochs), 1000).epsilon <= bound


def test_shuffled_epsilon_depends_on_neither_rows_nor_batch_size() -> None:
    values = {spent(recipe(batch_size=size), rows).epsilon for size, rows in ((1, 10), (10, 1000), (50, 40))}
    assert len(values) == 1


def test_poisson_epsilon_is_the_accountants() -> None:
    privacy = spent(recipe(sampling=POISSON), 100)
    assert privacy.epsilon == privacy.nominal == spent(recipe(), 100).nominal


def test_a_batch_of_all_rows_is_sampled_surely() -> None:
    privacy = spent(recipe(8.0, batch_size=300, epochs=20, sampling=POISSON), 100)
    assert (privacy.sample_rate, privacy.steps) == (1.0, 20)
    assert gaussian_epsilon(math.sqrt(20) / 8, 1e-5) <= privacy.epsilon < 1.15 * gaussian_epsilon(20**0.5 / 8, 1e-5)


@pytest.mark.parametrize(
    ("shaper", "reason"),
    [
        (Shaper(), "no noise"),
        (Shaper((Clip(1.0),)), "no noise"),
        (Clip(1.0) | Noise(0.0), "no noise"),
        (Shaper((Noise(1.0),)), "nothing bounds"),
        (Clip(math.inf) | Noise(1.0), "nothing bounds"),
        (Shaper((ClipToMedian(), Clip(1.0), Noise(1.0))), "nothing bounds"),
        (Clip(1.0) | AdaptiveNoise(0.5, low=1.0), "earlier steps"),
        (QuantileClip(0.5) | Noise(1.0), "earlier steps"),
        (Clip(1e300) | Noise(1e-100), "too little noise"),
    ],
)
@pytest.mark.parametrize("sampling", Sampling)
def test_without_a_bound_epsilon_is_infinite_and_says_why(shaper: Shaper, reason: str, sampling: Sampling) -> None:
    privacy = spent(recipe(shaper=shaper, sampling=sampling), 100)
    assert privacy.epsilon == privacy.nominal == math.inf
    assert privacy.reason is not None
    assert reason in privacy.reason


@pytest.mark.parametrize(
    "shaper",
    [
        Clip(4.0) | Noise(1.0),
        Clip(8.0) | Clip(4.0) | Noise(1.0),
        Clip(4.0, per_layer=True) | Noise(1.0),
        Normalize(4.0) | Noise(1.0),
        Clip(4.0) | Noise(0.6) | Noise(0.8),
    ],
)
def test_every_way_to_the_same_bound_spends_the_same(shaper: Shaper) -> None:
    privacy = spent(recipe(shaper=shaper), 100)
    assert privacy.noise_multiplier == pytest.approx(0.25)
    assert privacy.epsilon == pytest.approx(spent(recipe(1.0, 4.0), 100).epsilon)
    assert privacy.reason is None


@pytest.mark.parametrize("sampling", Sampling)
def test_gradients_that_are_removed_tell_nothing(sampling: Sampling) -> None:
    privacy = spent(recipe(1.0, 0.0, sampling=sampling), 100)
    assert (privacy.epsilon, privacy.nominal, privacy.reason) == (0, 0, None)


@pytest.mark.parametrize("accountant", Accountant)
@pytest.mark.parametrize("multiplier", [1e-300, 1e-150, 1e-99, 1e-7, 1e-3, 0.1, 1e4, 1e150, 1e300])
@pytest.mark.parametrize("batch_size", [1, 49, 100])
def test_no_noise_is_too_small_or_too_large(multiplier: float, accountant: Accountant, batch_size: int) -> None:
    privacy = spent(recipe(1.0, 1 / multiplier, batch_size=batch_size, epochs=3), 100, accountant=accountant)
    assert privacy.epsilon >= 0
    assert privacy.nominal >= 0
    assert (privacy.reason is None) == math.isfinite(max(privacy.epsilon, privacy.nominal))


def test_prv_says_so_where_rdp_had_to_stand_in() -> None:
    assert spent(recipe(1e-3), 100, accountant=PRV).accountant is RDP
    assert spent(recipe(1.0), 100, accountant=PRV).accountant is PRV


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 2.0, math.nan])
def test_a_delta_that_is_no_probability_is_named(delta: float) -> None:
    with pytest.raises(ValueError, match=r"delta=.*expected a number in \(0, 1\)"):
        spent(recipe(), 100, delta=delta)
    with pytest.raises(ValueError, match=r"delta="):
        gaussian_epsilon(1.0, delta)


@pytest.mark.parametrize(("name", "arguments"), [("rows", {"rows": 0}), ("epochs", {"rows": 9, "epochs": 0})])
def test_counts_below_1_are_named(name: str, arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{name}=0: expected an integer of at least 1"):
        spent(recipe(), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampling", Sampling)
def test_the_assumption_is_stated(sampling: Sampling) -> None:
    assert spent(recipe(sampling=sampling), 100).assumption == ASSUMPTIONS[sampling]


def test_opacus_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, gradshape.privacy as p; from gradshape.training import SGD, Recipe; "
        "p.spent(Recipe('lr', SGD(0.1), batch_size=1, epochs=1), 9); assert 'opacus' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shuffled_mechanism_stays_within_its_delta() -> None:
    # Two neighbours, one coordinate, one step an epoch: the released sums are N(+-C, std^2) an epoch.
    std, epochs, delta = 3.0, 4, 0.05
    epsilon = spent(recipe(std, epochs=epochs), 100, delta=delta).epsilon
    generator = torch.Generator().manual_seed(0)
    sums = 1.0 + std * torch.randn(200_000, epochs, dtype=torch.float64, generator=generator)
    loss = ((sums + 1).square() - (sums - 1).square()).sum(1) / (2 * std**2)
    measured = float((1 - torch.exp(epsilon - loss)).clamp_min(0).mean())
    assert measured == pytest.approx(delta, rel=0.05)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Clip(1.0), "put it into one: Recipe"),
        (Clip(1.0) | Noise(1.0), "put it into one: Recipe"),
        (Noise(1.0), "put it into one: Recipe"),
        (Fit("svm_linear"), "an estimator takes no steps with noise to count"),
        (Fit("dp_logistic_objective", epsilon=1.0), "what a private one spends is its own epsilon"),
        ("lr", "expected a Recipe$"),
        (None, "expected a Recipe$"),
    ],
)
def test_what_is_no_recipe_with_steps_is_explained(given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=r"^recipe=.*: expected a Recipe.*") as error:
        spent(given, 100)
    assert re.search(told, str(error.value))
