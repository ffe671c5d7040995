"""What every part of a shaper promises, and every shaper made of parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gradshape.shaping import Bounded, Clip, Noise, Part, QuantileClip, SampleWeights, Shaper, ShaperStack
from gradshape.shaping.part import is_per_layer
from gradshape.testing._datasets import blobs
from gradshape.testing.promise import (
    Check,
    check_label,
    check_sent,
    check_value,
    checks,
    demand,
    untouched,
    untouched_state,
)
from gradshape.training import SGD, Recipe, Victim, train_victims

_LAYERS, _ROWS, _STEPS, _EPOCH = 2, 6, 5, 2
_DTYPES = (torch.float32, torch.float64)


def check_shaper(shaper: Shaper | Part, *, device: str = "cpu") -> None:
    """Check all that a shaper, or a part of one, promises.

    Args:
        shaper: yours.
        device: where else than on the CPU it is tried.

    Raises:
        BrokenPromise: which promise is broken, and by which value.

    >>> from gradshape.shaping import Normalize
    >>> check_shaper(Clip(4.0) | Normalize() | Noise(0.1))
    """
    for check in shaper_checks(shaper, device=device):
        check()


def shaper_checks(shaper: Shaper | Part, *, device: str = "cpu") -> list[Check]:
    """The checks of :func:`check_shaper`, one a promise: for ``pytest.mark.parametrize``, with ``ids=str``.

    >>> [str(check) for check in shaper_checks(Clip(4.0))][3:6]
    ['gives-one-weight-a-norm', 'gives-finite-weights', 'is-not-spoiled-by-a-norm-that-is-not-finite']
    """
    promises = PROMISES if device == "cpu" else (*PROMISES, gives_the_same_on_the_device)
    whole = shaper if isinstance(shaper, Shaper) else Shaper((shaper,))
    return checks(whole.label or "Shaper()", promises, ShaperTrial(whole, device))


@dataclass(frozen=True)
class ShaperTrial:
    """A shaper, and where it is tried."""

    shaper: Shaper
    device: str = "cpu"

    @property
    def samplewise(self) -> bool:
        return _stack([self.shaper]).samplewise

    def norms(self, *values: float) -> Tensor:
        """Norms of a batch, as the shaper takes them."""
        norms = torch.tensor(values, dtype=torch.float64)
        return norms.expand(_LAYERS, -1).clone() if self.shaper.per_layer else norms


def _stack(shapers: Sequence[Shaper], *, device: str = "cpu", dtype: torch.dtype = torch.float64) -> ShaperStack:
    return ShaperStack(shapers, device=torch.device(device), dtype=dtype)


def _squares(victims: int, *, rows: int = _ROWS, seed: int = 0) -> Tensor:
    """Squared norms of some steps ``(steps, L, K, B)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(_STEPS, _LAYERS, victims, rows, generator=generator, dtype=torch.float64).square()


def _run(stack: ShaperStack, squares: Tensor, member: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    """Weights ``(L, K, B)`` of every step, and the noise after it."""
    out = []
    for number, step in enumerate(squares):
        weights = stack.weights(step, member).expand(step.shape)
        stack.observe(step, member)
        out.append((weights, stack.noise_std()))
        if number % _EPOCH == _EPOCH - 1:
            stack.end_epoch()
    return out


def _demand_equal(found: Tensor, expected: Tensor, what: str) -> None:
    apart = int((~((found == expected) | (found.isnan() & expected.isnan()))).sum())
    demand(not apart, f"{what}: {apart} of {expected.numel()} numbers differ, {_first_apart(found, expected)}")


def _demand_close(found: Tensor, expected: Tensor, what: str, *, tolerance: float = 1e-9) -> None:
    close = torch.isclose(found, expected, rtol=tolerance, atol=tolerance * 1e-3, equal_nan=True)
    demand(bool(close.all()), f"{what}: {_first_apart(found, expected)}")


def _first_apart(found: Tensor, expected: Tensor) -> str:
    apart = (found != expected).flatten().nonzero()
    if not len(apart):
        return "none differ"
    place = int(apart[0])
    return f"such as {found.flatten()[place].item():g}, expected {expected.flatten()[place].item():g}"


def has_a_label_for_ids(trial: ShaperTrial) -> None:
    """Labels of all parts can stand in a test id; equal parts have equal ones."""
    for part in trial.shaper.parts:
        check_label(lambda each: each.label, part)


def is_a_frozen_value(trial: ShaperTrial) -> None:
    """Parts are compared and hashed by value, and cannot be changed."""
    for part in (*trial.shaper.parts, trial.shaper):
        check_value(part)


def can_be_sent_to_a_process(trial: ShaperTrial) -> None:
    """What another process receives is equal, and weights alike."""
    for part in (*trial.shaper.parts, trial.shaper):
        check_sent(part)


def gives_one_weight_a_norm(trial: ShaperTrial) -> None:
    """Weights have the shape and the type of the norms, of an empty batch, too."""
    for weigh in (*trial.shaper.weighting, trial.shaper):
        shapes = [(1, 1), (3, 1), (2, 3, 4)] + [(1, 0), (2, 0)] * isinstance(weigh, Shaper)
        for shape in shapes:
            for dtype in _DTYPES:
                norms = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
                weights = weigh.weights(norms)
                found = f"{tuple(weights.shape)} weights of {weights.dtype} for {shape} norms of {dtype}"
                demand(weights.shape == norms.shape and weights.dtype == dtype, found)


def gives_finite_weights(trial: ShaperTrial) -> None:
    """Every finite norm gets a finite weight, among them 0: a zero gradient stays one."""
    for weigh in (*trial.shaper.weighting, trial.shaper):
        norms = trial.norms(0.0, 1e-30, 0.5, 1.0, 1e30)
        weights = weigh.weights(norms)
        bad = ~weights.isfinite()
        found = f"weight {weights[bad][:1].tolist()} for norm {norms[bad][:1].tolist()}, expected finite numbers"
        demand(not bool(bad.any()), found)


def is_not_spoiled_by_a_norm_that_is_not_finite(trial: ShaperTrial) -> None:
    """If weights are ``samplewise``, an infinite gradient has a finite weight by each part, and harms no other row."""
    if not trial.samplewise:
        return
    for part in trial.shaper.weighting:
        weights = part.weights(trial.norms(1.0, math.inf))
        demand(bool(weights.isfinite().all()), f"{part.label} gives norms 1 and inf the weights {weights.tolist()}")
    others = trial.shaper.weights(trial.norms(0.5, 2.0))
    for value in (math.inf, math.nan):
        weights = trial.shaper.weights(trial.norms(0.5, value, 2.0))[..., [0, 2]]
        _demand_equal(weights, others, f"weights beside a norm of {value}")


def learns_nothing_from_norms_that_are_not_finite(trial: ShaperTrial) -> None:
    """If weights are ``samplewise``, rows that are not finite change nothing of what parts learn."""
    if trial.samplewise:
        squares = _squares(1)[0]
        broken = torch.cat([squares, torch.full((_LAYERS, 1, 1), math.nan, dtype=torch.float64)], dim=2)
        _demand_learned_alike(trial.shaper, [squares], [broken], "after a batch with a norm of NaN")


def learns_nothing_from_an_empty_batch(trial: ShaperTrial) -> None:
    """A batch without rows changes nothing of what parts learn."""
    squares = _squares(1)
    empty = squares[0][:, :, :0]
    _demand_learned_alike(trial.shaper, [squares[0]], [squares[0], empty], "after a batch without rows")


def _demand_learned_alike(shaper: Shaper, some: list[Tensor], others: list[Tensor], what: str) -> None:
    one, other = _stack([shaper]), _stack([shaper])
    for stack, steps in ((one, some), (other, others)):
        for step in steps:
            stack.weights(step)
            stack.observe(step)
    probe = _squares(1, seed=1)[0]
    _demand_equal(other.weights(probe), one.weights(probe), f"weights {what}")
    _demand_equal(other.noise_std(), one.noise_std(), f"noise {what}")


def writes_nothing_to_the_norms(trial: ShaperTrial) -> None:
    """Norms stay as they are: the parts that follow need them."""
    for weigh in (*trial.shaper.weighting, trial.shaper):
        norms = trial.norms(0.5, 1.0, 3.0)
        with untouched({"norms": norms}):
            weigh.weights(norms)
    stack, squares = _stack([trial.shaper]), _squares(1)[0]
    with untouched({"squared norms": squares}):
        stack.weights(squares)
        stack.observe(squares)


def leaves_the_state_of_the_process_alone(trial: ShaperTrial) -> None:
    """Torch's default dtype, number of threads and the like are as before."""
    with untouched_state():
        _run(_stack([trial.shaper]), _squares(1))


def gives_the_same_weights_again(trial: ShaperTrial) -> None:
    """Weights depend on norms and on what was observed: on no earlier call, and on no randomness."""
    norms = trial.norms(0.5, 1.0, 3.0)
    for weigh in (*trial.shaper.weighting, trial.shaper):
        _demand_equal(weigh.weights(norms), weigh.weights(norms), "two calls with the same norms")
    stack, squares = _stack([trial.shaper]), _squares(1)
    for step in squares[:2]:
        _demand_equal(stack.weights(step), stack.weights(step), "two calls with the same squared norms")
        stack.observe(step)


def weights_rows_wherever_they_stand(trial: ShaperTrial) -> None:
    """Permuted rows get the permuted weights, and the same noise."""
    squares = _squares(1)
    order = torch.randperm(_ROWS, generator=torch.Generator().manual_seed(0))
    straight, permuted = _run(_stack([trial.shaper]), squares), _run(_stack([trial.shaper]), squares[..., order])
    for (weights, noise), (of_permuted, its_noise) in zip(straight, permuted, strict=True):
        _demand_close(of_permuted, weights[..., order], "weights of permuted rows")
        _demand_close(its_noise, noise, "noise of permuted rows")


def weights_chunks_alike_if_it_says_so(trial: ShaperTrial) -> None:
    """If weights are ``samplewise``, each row alone gets the weight that it has in the batch."""
    if not trial.samplewise:
        return
    stack, squares = _stack([trial.shaper]), _squares(1)
    for step in squares:
        whole = stack.weights(step)
        _demand_equal(
            torch.cat([stack.weights(rows) for rows in step.split(1, dim=2)], dim=-1), whole, "rows one by one"
        )
        _demand_equal(
            torch.cat([stack.weights(rows) for rows in step.split(4, dim=2)], dim=-1), whole, "rows in chunks"
        )
        stack.observe(step)


def weights_in_a_stack_as_alone(trial: ShaperTrial) -> None:
    """In a stack with others a victim gets the very numbers that it gets alone, whatever was learned."""
    others = (Shaper(), Clip(0.5) | Noise(1.0), Shaper((QuantileClip(0.5, start=2.0),)))
    company = [others[0], trial.shaper, others[1], others[2], trial.shaper]
    for dtype in _DTYPES:
        squares = _squares(len(company)).to(dtype)
        together = _run(_stack(company, dtype=dtype), squares)
        for k, shaper in enumerate(company):
            alone = _run(_stack([shaper], dtype=dtype), squares[:, :, k : k + 1])
            for (weights, noise), (own_weights, own_noise) in zip(together, alone, strict=True):
                _demand_equal(weights[:, k], own_weights[:, 0], f"weights of victim {k} in a stack of {len(company)}")
                _demand_equal(noise[k], own_noise[0], f"noise of victim {k} in a stack of {len(company)}")


def weights_in_a_stack_as_by_its_parts(trial: ShaperTrial) -> None:
    """The first step in a stack has the weights that :meth:`Shaper.weights` gives, and so has any if nothing learns."""
    stack, squares = _stack([trial.shaper]), _squares(1)
    for step in squares[:1] if trial.shaper.adaptive else squares:
        norms = step.sqrt() if trial.shaper.per_layer else step.sum(0).sqrt()
        _demand_close(stack.weights(step), trial.shaper.weights(norms), "weights in a stack")
        stack.observe(step)


def sees_its_own_batch_alone(trial: ShaperTrial) -> None:
    """Rows of other victims' batches change neither weights nor what is learned."""
    squares, places = _squares(2), torch.tensor([[0, 2, 5], [1, 2, 3]])
    member = torch.zeros(2, _ROWS).scatter(1, places, 1)
    of_own = squares.gather(3, places.expand(_STEPS, _LAYERS, -1, -1))
    expected = _run(_stack([trial.shaper] * 2), of_own)
    for (weights, noise), (own_weights, own_noise) in zip(
        _run(_stack([trial.shaper] * 2), squares, member), expected, strict=True
    ):
        _demand_equal(weights.gather(2, places.expand(_LAYERS, -1, -1)), own_weights, "weights among rows of others")
        _demand_equal(noise, own_noise, "noise among rows of others")


def goes_on_when_others_leave_the_stack(trial: ShaperTrial) -> None:
    """Victims that stay get what they would have got."""
    company, squares, kept = [trial.shaper, Shaper((Clip(0.5),)), trial.shaper], _squares(3), [2, 0]
    whole = _run(_stack(company), squares)
    stack = _stack(company)
    before = _run(stack, squares[:_EPOCH])
    stack.keep(kept)
    after = [(weights[:, kept], noise[kept]) for weights, noise in whole[_EPOCH:]]
    for (weights, noise), (expected, its_noise) in zip(
        before + _run(stack, squares[_EPOCH:][:, :, kept]), whole[:_EPOCH] + after, strict=True
    ):
        _demand_equal(weights, expected, "weights after others left")
        _demand_equal(noise, its_noise, "noise after others left")


def bounds_norms_as_it_says(trial: ShaperTrial) -> None:
    """No norm that is left exceeds ``bound``, and no shaped gradient the ``sensitivity`` of the whole."""
    norms = torch.logspace(-6, 6, 50, dtype=torch.float64)
    for part in trial.shaper.weighting:
        for limit in (0.0, 1e-3, 1.0, 100.0, math.inf) if isinstance(part, Bounded) else ():
            assert isinstance(part, Bounded)
            _demand_below(part, norms[norms <= limit], part.bound(limit))
        if isinstance(part, Bounded):
            bounds = [part.bound(limit) for limit in (0.0, 1e-3, 1.0, 100.0, math.inf)]
            demand(
                all(one <= other for one, other in pairwise(bounds)), f"bounds {bounds} of growing norms do not grow"
            )
    _demand_below(trial.shaper, norms, trial.shaper.sensitivity)


def _demand_below(weigh: SampleWeights | Shaper, norms: Tensor, bound: float) -> None:
    if not len(norms) or bound == math.inf:
        return
    # Of two layers that have equal shares of the norm.
    of_layers = norms.expand(_LAYERS, -1) / _LAYERS**0.5 if is_per_layer(weigh) else norms
    left = torch.atleast_2d(of_layers * weigh.weights(of_layers)).norm(dim=0)
    most = float(left.max())
    demand(
        most <= bound * (1 + 1e-12), f"{weigh.label} leaves a norm of {most:g}, and says that none exceeds {bound:g}"
    )


def adds_the_noise_that_it_says(trial: ShaperTrial) -> None:
    """The standard deviation on the sum is a finite number; without noise that adapts it is ``noise_std``, always."""
    for scale in (1.0, 100.0):
        for _, noise in _run(_stack([trial.shaper]), _squares(1) * scale):
            std = float(noise[0])
            demand(math.isfinite(std) and std >= 0, f"noise of standard deviation {std}")
            fixed = trial.shaper.noise_std
            same = math.isclose(std, fixed, rel_tol=1e-12) or (bool(trial.shaper.adaptive_noises) and std >= fixed)
            demand(same, f"noise of standard deviation {std:g}, and noise_std={fixed:g}")


def trains_victims_together_as_alone(trial: ShaperTrial) -> None:
    """Victims train under it, and in a stack they get what they get alone."""
    data = blobs(rows=20, test=10)
    recipe = Recipe("lr", SGD(0.1), batch_size=5, epochs=2, shaper=trial.shaper)
    victims = [Victim(recipe, seed, order_seed=7) for seed in range(2)]
    together = train_victims(data, victims, device=trial.device, dtype=torch.float64)
    for victim, result in zip(victims, together, strict=True):
        [alone] = train_victims(data, [victim], device=trial.device, dtype=torch.float64)
        demand(result.diverged is None, f"a victim diverged in epoch {result.diverged}")
        assert result.last is not None
        for name, value in (alone.last or {}).items():
            _demand_close(result.last[name], value, f"{name} of a victim in a stack of 2")


def gives_the_same_on_the_device(trial: ShaperTrial) -> None:
    """Weights lie on the device of the norms, and weights and noise are those of the CPU, up to rounding."""
    squares = _squares(2)
    here = _run(_stack([trial.shaper] * 2), squares)
    there = _run(_stack([trial.shaper] * 2, device=trial.device), squares.to(trial.device))
    for of_device, of_cpu in zip(there, here, strict=True):
        for name, found, expected in zip(("weights", "noise"), of_device, of_cpu, strict=True):
            demand(found.device.type == torch.device(trial.device).type, f"{name} lie on {found.device}")
            _demand_close(found.cpu(), expected, f"{name} on {trial.device}")


PROMISES = (
    has_a_label_for_ids,
    is_a_frozen_value,
    can_be_sent_to_a_process,
    gives_one_weight_a_norm,
    gives_finite_weights,
    is_not_spoiled_by_a_norm_that_is_not_finite,
    learns_nothing_from_norms_that_are_not_finite,
    learns_nothing_from_an_empty_batch,
    writes_nothing_to_the_norms,
    leaves_the_state_of_the_process_alone,
    gives_the_same_weights_again,
    weights_rows_wherever_they_stand,
    weights_chunks_alike_if_it_says_so,
    weights_in_a_stack_as_alone,
    weights_in_a_stack_as_by_its_parts,
    sees_its_own_batch_alone,
    goes_on_when_others_leave_the_stack,
    bounds_norms_as_it_says,
    adds_the_noise_that_it_says,
    trains_victims_together_as_alone,
)
