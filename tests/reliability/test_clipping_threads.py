"""Threads that differentiate one model, or models that share layers, do not disturb each other and do not block."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from gradshape.clipping import per_sample_norms
from gradshape.clipping._module_locks import held
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, randn

CALLS = 40
# Far more than any of these takes.
PATIENCE = 300


def together(*works: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result(PATIENCE)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(5, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(x.unsqueeze(1))[0][:, 0])
        return out


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(5, 1, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.stack([x, x.sin()], 1)
        out: Tensor = self.head(self.attention(rows, rows, rows)[0].flatten(1))
        return out


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 3))


def assert_undisturbed(models: Sequence[nn.Module]) -> None:
    batches = [(randn(8, 5, seed=seed), labels(8, 3, seed=seed)) for seed in range(2)]
    rights = [per_sample_norms(model, PER_SAMPLE_LOSS, x, y) for model, (x, y) in zip(models, batches, strict=True)]

    def work(i: int) -> None:
        for _ in range(CALLS):
            got = per_sample_norms(models[i], PER_SAMPLE_LOSS, *batches[i])
            torch.testing.assert_close(got, rights[i], rtol=1e-9, atol=1e-9)

    together(*(lambda i=i: work(i) for i in range(2)))


@pytest.mark.parametrize("build", [plain, Recurrent, Attending])
def test_two_threads_may_differentiate_one_model(build: Callable[[], nn.Module]) -> None:
    model = filled(build())
    assert_undisturbed([model, model])


def test_two_threads_may_differentiate_models_that_share_a_layer() -> None:
    body = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.LayerNorm(16))
    assert_undisturbed([filled(nn.Sequential(body, nn.Linear(16, 3))) for _ in range(2)])


def test_a_loss_may_differentiate_a_model_itself() -> None:
    student, teacher = filled(plain(), seed=1), filled(plain(), seed=2)
    x, y = randn(4, 5), labels(4, 3)

    def weighted(logits: Tensor, y: Tensor) -> Tensor:
        losses: Tensor = PER_SAMPLE_LOSS(logits, y)
        return losses * per_sample_norms(teacher, PER_SAMPLE_LOSS, y.double().view(-1, 1).expand(-1, 5), y)

    def work() -> None:
        assert per_sample_norms(student, weighted, x, y).isfinite().all()

    together(work, work)


def test_threads_that_would_wait_for_each_other_are_told() -> None:
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    both_hold = threading.Barrier(2)
    told: list[str] = []

    def nested(first: nn.Module, second: nn.Module) -> None:
        try:
            with held([first]):
                both_hold.wait(PATIENCE)
                with held([second]):
                    pass
        except RuntimeError as error:
            told.append(str(error))

    together(lambda: nested(one, other), lambda: nested(other, one))
    assert len(told) == 1
    assert "wait for each other" in told[0]


def test_what_is_held_is_free_again_after_an_error() -> None:
    module = nn.Linear(1, 1)
    with pytest.raises(ZeroDivisionError), held([module]):
        raise ZeroDivisionError
    together(lambda: held([module]).__enter__())
    held([module])
