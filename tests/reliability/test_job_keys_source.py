"""A job's key differs if any text of the user's project does that a component of the job can reach."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip
from gradshape_bench.job_names import code_digest
from gradshape_bench.jobs import Craft
from tests.reliability.user_project import imported

MOONS = load("two_moons")
ROOT = Path(__file__).parents[2]

OWN = """
import functools, importlib, logging, re
from dataclasses import dataclass, field
from enum import Enum
import torch
import settings
import other
import space.inner
import whole
from bases import Base
from gradshape import learners, models
from gradshape.training import SGD, Fit, Recipe
from tools import helper

try:
    import optional
except ImportError:
    optional = None

LOG = logging.getLogger(__name__)
PATTERN = re.compile("a+")
NAMES = {"one", "two", "three"}
SCALE = 2.0
TABLE = {"a": [1.0, (2, 3)]}
triple = lambda x: x * 3.0

class Kind(Enum):
    SOFT = 1

def scaled(factor):
    return lambda x: x * factor

double = scaled(2.25)

@functools.lru_cache
def powered(x, power=2.5):
    return x ** power

@dataclass(frozen=True)
class Left:
    name: str

@dataclass(frozen=True)
class Right(Left): ...

class Memory:
    def __init__(self, size):
        self.size = size

MEMORY = Memory(5)

@dataclass(frozen=True)
class Own(Base):
    kind: Kind = Kind.SOFT
    many: tuple = field(default_factory=tuple)
    parts: tuple = (1, 2)

    @property
    def slower(self):
        return 4.5

    @torch.no_grad()
    def craft(self, *arguments, **named):
        from lazy import late
        by_name = importlib.import_module("named")
        other.outer.VALUE
        LOG.info(PATTERN, NAMES, MEMORY)
        whole.piece.work()
        x = helper(late(triple(double(powered(SCALE * settings.SCALE)))) * TABLE["a"][0]) * space.inner.VALUE
        return super().craft(*arguments, **named)

models.register("own_net", lambda shape, classes: importlib.import_module("ne" + "ts").build(shape, classes))

class Learner:
    def __init__(self, seed, neighbours):
        self.neighbours = neighbours

    def fit(self, x, y): ...

    def predict(self, x):
        return helper(x)

learners.register("own_learner", lambda seed, neighbours=3: Learner(seed, neighbours))

ATTACK = Own(0.1, parts=(frozenset({Left("a"), Right("b"), Right("c"), Kind.SOFT}),))
NET = Recipe("own_net", SGD(0.1), batch_size=5, epochs=1)
LEARNER = Fit("own_learner")
"""

PROJECT = {
    "own.py": OWN,
    "bases.py": (
        "import above\n\nclass Base(above.Above):\n"
        "    def craft(self, *a, **n):\n        return super().craft(*a, **n)\n"
    ),
    "above.py": "from gradshape.attacks import LabelFlip\n\nclass Above(LabelFlip):\n    LEVEL = 1\n",
    "tools.py": "from deeper import bottom\n\ndef helper(x):\n    return bottom(x)\n",
    "deeper.py": "def bottom(x):\n    return x + 1\n",
    "settings.py": "SCALE = 2.0\n",
    "lazy.py": "def late(x):\n    return x\n",
    "named.py": "VALUE = 1\n",
    "space/inner.py": "VALUE = 1\n",
    "whole/__init__.py": "from . import first\nfrom .second import thing\n",
    "whole/first.py": "from .below import piece as other\nimport whole.piece\n",
    "whole/second.py": "thing = 1\n",
    "whole/piece.py": "def work(): ...\n",
    "whole/below/__init__.py": "PLACE = 1\n",
    "whole/below/piece.py": "from ..third import VALUE\n",
    "whole/third.py": "VALUE = 1\n",
    "nets.py": (
        "from pathlib import Path\nimport torch\nfrom torch import nn\nfrom layers import Shift\n\n"
        "def build(shape, classes):\n"
        "    net = nn.Sequential(nn.Flatten(), Shift(), nn.Linear(shape[0], classes))\n"
        "    net[1].by.data.fill_(float(Path(__file__).with_name('weight.txt').read_text()))\n"
        "    return net\n"
    ),
    "layers.py": (
        "import torch\nfrom torch import nn\n\nclass Shift(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.by = nn.Parameter(torch.zeros(()))\n"
        "    def forward(self, x):\n        return x + self.by\n"
    ),
    "other/__init__.py": "",
    "other/outer.py": "VALUE = 1\n",
    "weight.txt": "1.5",
    "unrelated.py": "VALUE = 1\n",
}

KEYS: dict[str, Callable[[Any], str]] = {
    "attack": lambda own: Craft(MOONS, "cpu", own.ATTACK, recipe=None, seed=0).key,
    "net": lambda own: Craft(MOONS, "cpu", LabelFlip(0.1), recipe=own.NET, seed=0).key,
    "learner": lambda own: Craft(MOONS, "cpu", LabelFlip(0.1), recipe=own.LEARNER, seed=0).key,
}

# Whose key changes, the file, what is replaced, and by what.
EDITS = [
    ("attack", "tools.py", "bottom(x)", "bottom(x) + 1"),
    ("attack", "deeper.py", "x + 1", "x + 2"),
    ("attack", "bases.py", "(*a, **n)\n", "(*a, **n) or None\n"),
    ("attack", "above.py", "LEVEL = 1", "LEVEL = 2"),
    ("attack", "settings.py", "2.0", "3.0"),
    ("attack", "lazy.py", "return x", "return x + 1"),
    ("attack", "named.py", "1", "2"),
    ("attack", "space/inner.py", "1", "2"),
    ("attack", "whole/__init__.py", "first\n", "first, third\n"),
    ("attack", "whole/first.py", "piece as other", "piece as another"),
    ("attack", "whole/second.py", "1", "2"),
    ("attack", "whole/piece.py", "...", "return 1"),
    ("attack", "whole/below/__init__.py", "1", "2"),
    ("attack", "whole/below/piece.py", "VALUE", "VALUE as V"),
    ("attack", "whole/third.py", "1", "2"),
    ("attack", "other/outer.py", "1", "2"),
    ("attack", "own.py", "x * 3.0", "x * 4.0"),
    ("attack", "own.py", "SCALE = 2.0", "SCALE = 3.0"),
    ("attack", "own.py", "power=2.5", "power=3.5"),
    ("attack", "own.py", "scaled(2.25)", "scaled(2.5)"),
    ("attack", "optional.py", "", "VALUE = 1\n"),
    ("net", "nets.py", "Shift(),", "Shift(), nn.Dropout(0.5),"),
    ("net", "nets.py", "Shift(),", "Shift(), nn.Dropout(0.6),"),
    ("net", "layers.py", "x + self.by", "x - self.by"),
    ("net", "weight.txt", "1.5", "2.5"),
    ("net", "own.py", '("ne" + "ts")', '("net" + "s")'),
    ("learner", "own.py", "neighbours=3", "neighbours=4"),
    ("learner", "deeper.py", "x + 1", "x + 2"),
]


def keys(folder: Path, files: dict[str, str]) -> dict[str, str]:
    with imported(folder, files, "own") as own:
        return {what: key(own) for what, key in KEYS.items()}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return keys(tmp_path_factory.mktemp("before") / "project", PROJECT)


@pytest.mark.parametrize(
    ("what", "file", "old", "new"), EDITS, ids=[f"{what}-{file}-{new.strip()}" for what, file, _, new in EDITS]
)
def test_key_changes_with_the_text(
    tmp_path: Path, before: dict[str, str], what: str, file: str, old: str, new: str
) -> None:
    text = PROJECT.get(file, "")
    assert text.count(old) >= 1
    assert keys(tmp_path, {**PROJECT, file: text.replace(old, new) if old else new})[what] != before[what]


def test_key_does_not_depend_on_the_folder_and_what_is_out_of_reach(tmp_path: Path, before: dict[str, str]) -> None:
    assert keys(tmp_path, {**PROJECT, "unrelated.py": "VALUE = 2\n"}) == before


REACHED = PROJECT.keys() - {"own.py", "unrelated.py", "weight.txt"}


@pytest.mark.parametrize("file", sorted(REACHED))
def test_every_file_is_reached(tmp_path: Path, before: dict[str, str], file: str) -> None:
    after = keys(tmp_path, {**PROJECT, file: f"{PROJECT[file]}# changed\n"})
    assert before != after


def test_key_is_the_same_in_every_session(tmp_path: Path, before: dict[str, str]) -> None:
    # Of hashes that differ, as those of texts in sets and the identities of objects do.
    code = (
        "from tests.reliability.test_job_keys_source import *\n"
        f"print(keys(Path({str(tmp_path)!r}), PROJECT) == {before!r})"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "True\n", run.stderr


def test_components_of_the_library_add_nothing() -> None:
    assert code_digest.code_of((LabelFlip(0.1), GradientShaping(Clip(1))), MOONS) == code_digest.code_of((), None)
