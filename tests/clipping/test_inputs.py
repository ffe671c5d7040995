"""Models with several inputs, masks and outputs of any form give the per-sample gradients of the loop."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import clipped_gradient, per_sample, per_sample_norms, weighted_gradient
from gradshape.clipping._recording import layers_in, recorded_forward
from gradshape.clipping._rows import Rows
from gradshape.clipping.structure import Structure
from tests.clipping.naive import PER_SAMPLE_LOSS, Gradients, assert_equal, filled, labels, norm, randn

ROWS, LENGTH, WORDS, WIDTH, CLASSES = 5, 6, 11, 8, 3


@dataclass(frozen=True, eq=False)
class Case:
    build: Callable[[], nn.Module]
    x: Any
    y: Any
    loss_fn: Callable[..., Tensor] = PER_SAMPLE_LOSS

    def model(self) -> nn.Module:
        return filled(self.build())


def row(tree: Any, n: int) -> Any:
    """Row ``n`` of every tensor, as a batch of its own."""
    if isinstance(tree, Tensor):
        return tree[n : n + 1]
    if isinstance(tree, dict | UserDict):
        return {key: row(part, n) for key, part in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*(row(part, n) for part in tree))
    return type(tree)(row(part, n) for part in tree) if isinstance(tree, tuple | list) else tree


def call(model: nn.Module, x: Any) -> Any:
    if isinstance(x, dict | UserDict):
        return model(**x)
    return model(*x) if isinstance(x, tuple | list) else model(x)


def loop(of: Case, rows: int = ROWS) -> list[Gradients]:
    model = of.model()
    found = []
    for n in range(rows):
        model.zero_grad()
        of.loss_fn(call(model, row(of.x, n)), row(of.y, n)).sum().backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append({k: grads[k].clone() if k in grads else torch.zeros_like(p) for k, p in model.named_parameters()})
    return found


class Encoder(nn.Module):
    """A transformer over words of which some are padding; the table of words may give the logits, too."""

    def __init__(self, *, tied: bool = False, dropout: float = 0.0, output: type = Tensor) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        block = nn.TransformerEncoderLayer(WIDTH, 2, 12, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WORDS if tied else CLASSES, bias=False)
        if tied:
            self.head.weight = self.words.weight
        self.output = output

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *, return_dict: bool | None = None) -> Any:
        hidden = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        hidden = self.encoder(hidden, src_key_padding_mask=attention_mask == 0)
        share = attention_mask.to(hidden.dtype).unsqueeze(2)
        logits = self.head((hidden * share).sum(1) / share.sum(1))
        if self.output is Tensor:
            return logits
        return self.output(logits, hidden) if self.output is not tuple else (logits, (hidden, None))


def tokens(rows: int = ROWS) -> dict[str, Tensor]:
    lengths = 1 + torch.arange(rows) % LENGTH
    mask = (torch.arange(LENGTH) < lengths.unsqueeze(1)).long()
    return {"input_ids": labels(rows * LENGTH, WORDS).reshape(rows, LENGTH) * mask, "attention_mask": mask}


class TwoInputs(nn.Module):
    """A picture and features of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.features = nn.Conv2d(1, 4, 3), nn.Linear(3, 4)
        self.head = nn.Linear(4 * 9 + 4, CLASSES)

    def forward(self, picture: Tensor, features: Tensor, scale: float = 1.0) -> Tensor:
        seen = self.conv(picture).relu().flatten(1)
        out: Tensor = self.head(torch.cat([seen, self.features(features).tanh() * scale], dim=1))
        return out


class Siamese(nn.Module):
    """One network on both entries of a pair, which is one argument."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, CLASSES)

    def forward(self, pair: Any, more: Any) -> Tensor:
        one, other = self.body(pair[0]).tanh(), self.body(pair[1]).tanh()
        out: Tensor = self.head(one - other * more["weights"][0].unsqueeze(1))
        return out


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


def of_output(out: Any, y: Tensor) -> Tensor:
    losses: Tensor = PER_SAMPLE_LOSS(out.logits, y) + out.hidden.square().mean((1, 2))
    return losses


def of_tuple(out: Any, y: Tensor) -> Tensor:
    losses: Tensor = PER_SAMPLE_LOSS(out[0], y) + out[1][0].square().mean((1, 2))
    return losses


def of_mapping(out: Tensor, y: Any) -> Tensor:
    smooth = F.mse_loss(out, y["soft"][0], reduction="none").mean(1)
    losses: Tensor = PER_SAMPLE_LOSS(out, y["hard"]) * y["weight"] + smooth
    return losses


def picture() -> Tensor:
    return randn(ROWS, 1, 5, 5)


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


CLASS = labels(ROWS, CLASSES)
TOKENS = tokens()
CASES = {
    "padded-tokens": Case(Encoder, TOKENS, CLASS),
    "options": Case(Encoder, {**TOKENS, "return_dict": None}, CLASS),
    "a-mapping-of-another-kind": Case(Encoder, UserDict(TOKENS), CLASS),
    "places": Case(Encoder, tuple(TOKENS.values()), CLASS),
    "tied": Case(lambda: Encoder(tied=True), TOKENS, labels(ROWS, WORDS)),
    "dataclass-of-outputs": Case(lambda: Encoder(output=Output), TOKENS, CLASS, of_output),
    "tuple-of-outputs": Case(lambda: Encoder(output=tuple), TOKENS, CLASS, of_tuple),
    "two-inputs": Case(TwoInputs, (picture(), randn(ROWS, 3, seed=1)), CLASS),
    "a-list-and-a-number": Case(TwoInputs, [picture(), randn(ROWS, 3, seed=1), 0.3], CLASS),
    "a-tuple-of-one": Case(dense, (randn(ROWS, 4),), CLASS),
    "by-name": Case(dense, {"input": randn(ROWS, 4)}, CLASS),
    "nested": Case(
        Siamese, {"pair": Pair(randn(ROWS, 4), randn(ROWS, 4, seed=1)), "more": {"weights": [randn(ROWS)]}}, CLASS
    ),
    "labels-of-several-kinds": Case(
        TwoInputs,
        {"picture": picture(), "features": randn(ROWS, 3)},
        {"hard": CLASS, "soft": (randn(ROWS, CLASSES),), "weight": randn(ROWS).exp()},
        of_mapping,
    ),
    "no-labels": Case(lambda: nn.Linear(4, 3), randn(ROWS, 4), None, lambda out, y: out.square().sum(1)),
}
every = pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in CASES.items()])


@every
@pytest.mark.parametrize("microbatch", [None, 2])
def test_norms_and_sums_are_those_of_the_loop(of: Case, microbatch: int | None) -> None:
    rows, weights = loop(of), randn(ROWS, seed=3)
    got, norms = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, lambda norms: weights, microbatch=microbatch)
    torch.testing.assert_close(norms, torch.stack([norm(gradient) for gradient in rows]), rtol=1e-9, atol=1e-9)
    expected = {k: torch.stack([w * g[k] for w, g in zip(weights, rows, strict=True)]).sum(0) for k in got}
    assert_equal(got, expected)


@every
@pytest.mark.parametrize("microbatch", [None, 2])
def test_clipped_means_are_those_of_the_loop(of: Case, microbatch: int | None) -> None:
    rows = loop(of)
    got, norms = clipped_gradient(of.model(), of.loss_fn, of.x, of.y, max_norm=0.5, microbatch=microbatch)
    weights = (0.5 / norms).clamp(max=1) / ROWS
    expected = {k: torch.stack([w * g[k] for w, g in zip(weights, rows, strict=True)]).sum(0) for k in got}
    assert_equal(got, expected)


@every
def test_what_was_passed_stays_as_it_is(of: Case) -> None:
    before = {k: v.clone() for k, v in TOKENS.items()}
    model = of.model()
    for _ in range(3):
        first, again = (per_sample_norms(model, of.loss_fn, of.x, of.y) for _ in range(2))
        torch.testing.assert_close(first, again)
    assert all(torch.equal(TOKENS[k], v) for k, v in before.items())


class MixesMasks(Encoder):
    """It leaves out positions that are padding in any row."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *, return_dict: bool | None = None) -> Any:
        return super().forward(input_ids, attention_mask.amin(0).expand_as(attention_mask))


def test_rows_that_are_mixed_by_their_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the loss of row \d is .* apart from them"):
        per_sample(filled(MixesMasks()), PER_SAMPLE_LOSS, TOKENS, CLASS)


@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_dropout_has_one_mask_for_norms_and_sum(rows: int) -> None:
    model, x = filled(Encoder(dropout=0.4)), tokens(rows)
    with torch.random.fork_rng(devices=[]):
        got = per_sample(model, PER_SAMPLE_LOSS, x, labels(rows, CLASSES))
        for n in range(rows):
            only = torch.eye(rows, dtype=torch.float64)[n]
            torch.testing.assert_close(norm(got.weighted_sum(only)), got.norms[n], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_drops_out_what_it_does_without_being_watched(batch_first: bool) -> None:
    model = filled(
        nn.Sequential(*(nn.TransformerEncoderLayer(WIDTH, 2, 12, 0.4, batch_first=batch_first) for _ in range(2)))
    )
    x, structure = randn(ROWS, LENGTH, WIDTH), Structure.of(model)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        watched = recorded_forward(structure, layers_in(structure), Rows.of(x))
        torch.set_rng_state(before)
        torch.testing.assert_close(watched, model(x), rtol=1e-9, atol=1e-9)


def test_a_number_that_changes_from_call_to_call_counts() -> None:
    model = filled(TwoInputs())
    for n in range(12):
        of = Case(TwoInputs, (picture(), randn(ROWS, 3), 1.0 + n), CLASS)
        expected = torch.stack([norm(gradient) for gradient in loop(of)])
        torch.testing.assert_close(per_sample_norms(model, PER_SAMPLE_LOSS, of.x, of.y), expected)


def test_no_rows_have_no_gradients() -> None:
    gradient, norms = clipped_gradient(filled(Encoder()), PER_SAMPLE_LOSS, tokens(0), labels(0, CLASSES), max_norm=1.0)
    assert norms.shape == (0,)
    assert not any(g.any() for g in gradient.values())


X = randn(ROWS, 4)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (
            {"a": X, "b": X[:3]},
            CLASS,
            r"x\['b'\] has shape \(3, 4\): expected a row .*, 5 as in x\['a'\]",
        ),
        ((X, {"mask": [X, X[0, 0]]}), CLASS, r"x\[1\]\['mask'\]\[1\] has shape \(\): expected a row for each sample"),
        ((X[0, 0], X), CLASS, r"x\[0\] has shape \(\): expected a row for each sample"),
        ((X, X.to_sparse()), CLASS, r"x\[1\] has the layout torch.sparse_coo: expected a dense tensor"),
        ({"a": X.numpy()}, CLASS, r"x\['a'\] is a ndarray: expected a tensor; use torch.as_tensor"),
        (X, {"a": CLASS, "b": CLASS[:2]}, r"y\['b'\] has shape \(2,\): expected a row for each sample"),
        (
            {"a": X, "b": X},
            CLASS[:3],
            r"x has shape \(5, 4\), \(5, 4\) and y has shape \(3,\): expected the same",
        ),
        ({}, CLASS, "x is a dict without tensors: expected a tensor with a row for each sample"),
        ([1.0, 2.0], CLASS, "x is a list without tensors"),
        ({0: X}, CLASS, r"x has the keys \[0\]: expected names of arguments"),
    ],
)
def test_what_is_no_batch_is_refused_by_the_name_of_the_entry(x: Any, y: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        per_sample(nn.Linear(4, 3).double(), PER_SAMPLE_LOSS, x, y)
