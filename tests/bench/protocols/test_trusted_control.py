from pathlib import Path

import pytest

from gradshape.attacks import Attack, BadNetsPatch, LabelFlip
from gradshape.defenses import RONI, Defense, NoDefense
from gradshape.training import Adam, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import ThreadEngine
from gradshape_bench.protocols import Backdoor, FromScratch, Protocol, Retrain
from gradshape_bench.schedule import Scheduler

TASK = Task("digits_38", Recipe("lr", Adam(0.05), batch_size=64, epochs=1))


@pytest.mark.parametrize(
    ("protocol", "attack"),
    [(FromScratch(), LabelFlip(0.1)), (Retrain(), LabelFlip(0.1)), (Backdoor(), BadNetsPatch(2, 0.05, claimed=1))],
    ids=["from_scratch", "retrain", "backdoor"],
)
def test_who_is_given_trusted_rows_is_compared_with_those_alone(
    protocol: Protocol, attack: Attack, tmp_path: Path
) -> None:
    def metrics(defense: Defense) -> set[str]:
        case = Case(TASK, attack, defense, scale=Scale.SMOKE, seeds=(0, 1), protocol=protocol)
        engine = ThreadEngine(workers=1, max_memory=1 << 28)
        measured = Scheduler([case], cache=Cache(tmp_path), engine=engine).measure(case).measurement
        assert len(measured.details.get("trusted_rows", (0, 0))) == 2
        return {name for name in measured.metrics if "trusted" in name}

    assert metrics(RONI()) >= {"rad_trusted", "accuracy_trusted"}
    assert metrics(NoDefense()) == set()
