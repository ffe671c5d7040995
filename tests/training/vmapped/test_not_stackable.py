"""Networks that do something in larger batches that a stack cannot follow, which two rows do not show."""

import pytest
import torch
from torch import Tensor, nn

from gradshape import own_models
from gradshape.clipping.ensemble import ModelEnsemble, NotStackable
from gradshape.shaping import Clip
from gradshape.training import SGD, Progress, Recipe, Victim, train_stacks, train_victims
from gradshape.training._vmapped.family import VmappedFamily
from tests.training.samples import assert_results_equal, blobs

DATA = blobs(rows=26, test=20, shape=(1, 4, 4), spread=0.4)


class Checking(nn.Module):
    """Looks at the values that it gets, which ``vmap`` refuses, if there are more rows than ``most``."""

    def __init__(self, classes: int, most: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, classes))
        self._most = most

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.body(x)
        if len(x) > self._most and not bool(h.isfinite().all()):
            raise ValueError("diverged")
        return h


class Failing(Checking):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self._most:
            raise RuntimeError(f"{len(x)} rows are too many")
        return super().forward(x)


def built(network: type[Checking], most: int) -> str:
    return own_models.named(lambda: network(DATA.num_classes, most), name=f"{network.__name__}_{most}")


def victims(network: type[Checking], most: int) -> list[Victim]:
    recipe = Recipe(built(network, most), SGD(0.1), batch_size=5, epochs=2, shaper=Clip(0.5))
    return [Victim(recipe, seed, order_seed=7) for seed in range(3)]


# In the steps, and where the 20 test rows are predicted.
@pytest.mark.parametrize("most", [3, 10], ids=["steps", "predictions"])
def test_they_are_trained_one_by_one_then(most: int) -> None:
    asked = victims(Checking, most)
    assert VmappedFamily().takes(DATA, asked[0], torch.device("cpu"))
    [(members, together)] = train_stacks(DATA, asked)
    assert members == (0, 1, 2)
    assert_results_equal(together, train_victims(DATA, asked, stacked=False), tolerance=0)


@pytest.mark.parametrize("most", [3, 10], ids=["steps", "predictions"])
def test_what_the_stack_had_done_counts_as_not_done(most: int) -> None:
    reports: list[Progress] = []
    train_victims(DATA, victims(Checking, most), progress=reports.append)
    alone = [report for report in reports if report.victims == 1]
    assert [report.work_done for report in alone] == [1, 2, 3, 4, 5, 6]
    assert {report.work for report in alone} == {6}


def test_an_error_of_the_network_itself_is_raised_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="5 rows are too many") as caught:
        train_victims(DATA, victims(Failing, 3))
    assert not isinstance(caught.value, NotStackable)


def test_a_lack_of_memory_is_not_taken_for_it() -> None:
    class Large(Checking):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self._most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    with pytest.raises(torch.OutOfMemoryError):
        train_victims(DATA, victims(Large, 3))


def test_the_ensemble_says_so() -> None:
    model = Checking(3, most=2)
    ensemble = ModelEnsemble.of(model, torch.rand(2, 1, 4, 4))
    assert ensemble is not None
    parameters = {name: p.detach()[None] for name, p in model.named_parameters()}
    x, y = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(NotStackable, match="vmap"):
        ensemble.gradients(parameters, x, y)
    with pytest.raises(NotStackable, match="vmap"):
        ensemble.logits(parameters, x, own=False)
