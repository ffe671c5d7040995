"""A file that is edited during a run changes no key of that run, and no result is kept that may be of either text."""

from pathlib import Path

import pytest

from gradshape.data import load
from gradshape.defenses import NoDefense
from gradshape.training import SGD, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Craft
from gradshape_bench.schedule import Scheduler
from tests.bench.spy import Spy
from tests.reliability.user_project import imported

MOONS = load("two_moons")
TASK = Task("two_moons", Recipe("lr", SGD(0.1), batch_size=50, epochs=1))
FILES = {
    "own.py": "from gradshape.attacks import LabelFlip\nimport helper\n\nclass Own(LabelFlip):\n    S = helper.SIZE\n",
    "helper.py": "SIZE = 1\n",
}


def test_keys_are_those_of_the_texts_that_were_imported(tmp_path: Path) -> None:
    with imported(tmp_path / "one", FILES, "own") as own:
        before = Craft(MOONS, "cpu", own.Own(0.1), recipe=None, seed=0).key
    with imported(tmp_path / "other", FILES, "own") as own:
        case = Case(TASK, own.Own(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0,))
        scheduler = Scheduler([case], cache=Cache(tmp_path / "cache"), engine=Spy())
        (tmp_path / "other" / "helper.py").write_text("SIZE = 2 + 2\n", encoding="utf-8")
        job = Craft(MOONS, "cpu", own.Own(0.1), recipe=None, seed=0)
        assert job.key == before
        with pytest.warns(UserWarning, match=r"helper.py was edited during the run: results .* are not kept") as caught:
            scheduler.measure(case)
        assert len(caught) == 1
    assert not job.repeatable
    assert Cache(tmp_path / "cache").get(before) is None
