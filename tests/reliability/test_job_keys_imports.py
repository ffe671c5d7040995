"""A job's key differs if a module does that a component imports in whatever way, or if a value in that was set.

What a text does not tell is computed without the cache.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gradshape.data import load
from gradshape_bench.jobs import Craft
from tests.reliability.user_project import imported

MOONS = load("two_moons")

OWN = """
from gradshape.attacks import LabelFlip
{above}

class Own(LabelFlip):
    def craft(self, *arguments, **named):
        {inside}

ATTACK = Own(0.1)
"""
HELPERS = {
    "pk/__init__.py": "",
    "pk/deep/__init__.py": "",
    "pk/deep/h.py": "K = 1\ndef f(): return K\n",
    "h.py": "K = 1\n",
}

# What stands above the class, and what its method does; all of these import the helper of the same folder.
SPELLINGS = {
    "statement": ("", "import pk.deep.h"),
    "relative statement": ("", "from .h import K"),
    "relative package": ("", "from . import h"),
    "call": ("import importlib", "importlib.import_module('pk.deep.h')"),
    "keyword": ("import importlib", "importlib.import_module(name='pk.deep.h')"),
    "no package": ("import importlib", "importlib.import_module('pk.deep.h', None)"),
    "relative call": ("import importlib", "importlib.import_module('.h', __package__)"),
    "relative to a text": ("import importlib", "importlib.import_module('..deep.h', package='pk.deep')"),
    "parts": ("import importlib", "importlib.import_module('pk.' + 'deep' + '.h')"),
    "formatted": ("import importlib", "importlib.import_module(f'{__package__}.h')"),
    "alias": ("from importlib import import_module as im", "im('pk.deep.h')"),
    "assigned alias": ("import importlib\nim = importlib.import_module\nagain = im", "again(name='pk.deep.h')"),
    "alias of the package": ("import importlib as i", "i.import_module('pk.deep.h')"),
    "alias inside": ("", "from importlib import import_module as im; im('pk.deep.h')"),
    "builtin": ("", "__import__('pk.deep.h')"),
    "builtin with globals": ("", "__import__('pk.deep.h', globals(), locals(), ['K'])"),
    "builtin from a package": ("", "__import__('pk.deep', fromlist=('h',))"),
    "builtin with a level": ("", "__import__('h', globals(), locals(), [], 1)"),
    "builtin alias": ("imp = __import__", "imp('pk.deep.h')"),
    "skipping": ("import pytest", "pytest.importorskip('pk.deep.h')"),
    "imported already": ("import sys\nimport pk.deep.h", "sys.modules['pk.deep.h'].f()"),
}

# The same, so that no text tells what is imported or run.
COMPUTED = {
    "computed name": ("import importlib\nNAME = str('pk.deep.h')", "importlib.import_module(NAME)"),
    "computed keyword": ("import importlib", "importlib.import_module(**{'name': 'pk.deep.h'})"),
    "computed package": ("import importlib", "importlib.import_module('.h', self.label)"),
    "computed names inside": ("", "__import__('pk.deep', fromlist=list('h'))"),
    "computed level": ("", "__import__('h', globals(), locals(), [], int('1'))"),
    "handed on": ("import importlib", "list(map(importlib.import_module, ['pk.deep.h']))"),
    "asked for by a text": ("import importlib", "getattr(importlib, 'import_module')('pk.deep.h')"),
    "helper": ("import importlib\ndef get(name): return importlib.import_module(name)", "get('pk.deep.h')"),
    "run when it is imported": ("import importlib\nH = [importlib.import_module(n) for n in ['pk.deep.h']]", "pass"),
    "eval": ("", "eval('__import__(\"pk.deep.h\")')"),
    "exec": ("", "exec('import pk.deep.h')"),
    "builtins": ("import builtins", "builtins.eval('__import__(\"pk.deep.h\")')"),
    "eval by another name": ("from builtins import eval as e", "e('__import__(\"pk.deep.h\")')"),
    "text for a module": ("import pkgutil", "pkgutil.resolve_name('pk.deep.h:f')"),
    "file": ("import runpy", "runpy.run_path('h.py')"),
    "loader": ("import importlib.util as u", "u.spec_from_file_location('h', 'h.py').loader"),
    "imported already": ("import sys", "sys.modules[self.label]"),
}

# What looks like it, or is out of reach.
HARMLESS = {
    "eval of a network": ("", "named['model'].eval()"),
    "own eval": ("def eval(model): return model", "eval(1)"),
    "own module": ("import sys", "sys.modules[__name__]"),
    "function that nobody calls": ("def other(name):\n    return __import__(name)", "pass"),
    "method of a class that nobody uses": ("class Other:\n    def run(self, text):\n        exec(text)", "pass"),
    "array": ("import numpy\nTABLE = numpy.zeros(3)", "TABLE"),
    "ordinary packages": (
        "import numpy, scipy.stats, sklearn.svm, torch, opacus",
        "numpy, torch.nn.functional",
    ),
}

# What a component reads, from above its class and in its method; somebody else sets it.
READ = {
    "dotted": ("import pk.deep.h", "pk.deep.h.K"),
    "dotted function": ("import pk.deep.h", "pk.deep.h.f()"),
    "alias": ("import pk.deep.h as some", "some.K"),
    "package": ("import pk", "pk.deep.h.K"),
    "inside": ("", "import pk.deep.h; pk.deep.h.K"),
    "inside by name": ("", "from pk.deep.h import K; K"),
    "inside relative": ("", "from . import h; h.K"),
    "inside function": ("def get():\n    from .h import f\n    return f()", "get()"),
    "inside call": ("import importlib", "importlib.import_module('.h', __package__).K"),
    "inside call by alias": ("from importlib import import_module as im", "im('pk.deep.h').K"),
    "imported already": ("import sys", "sys.modules['pk.deep.h'].K"),
    "by a text with dots": ("import operator, pk.deep.h", "operator.attrgetter('deep.h.K')(pk)"),
    "by the text of a global": ("import pk.deep.h", "globals()['pk'].deep.h.K"),
    "by a text": ("import pk.deep.h", "getattr(pk.deep.h, 'K')"),
    "of a module in an attribute": ("import pk.deep.h", "self.mod.K\n    mod = pk.deep.h"),
    "of a held module": ("import pk.deep.h\nHELD = {'a': [pk.deep.h]}", "HELD['a'][0].K"),
}


def job(folder: Path, files: Mapping[str, str], k: str = "") -> Craft:
    with imported(folder, {**HELPERS, **files, "suite.py": f"from pk.deep.own import ATTACK\n{k}"}, "suite") as suite:
        made = Craft(MOONS, "cpu", suite.ATTACK, recipe=None, seed=0)
        assert made.key
        return made


def own(written: tuple[str, str]) -> dict[str, str]:
    above, inside = written
    return {"pk/deep/own.py": OWN.format(above=above, inside=inside)}


@pytest.mark.parametrize("written", SPELLINGS.values(), ids=SPELLINGS)
def test_key_changes_with_a_module_however_its_import_is_written(tmp_path: Path, written: tuple[str, str]) -> None:
    changed = {"pk/deep/h.py": "K = 1\ndef f(): return K + 0\n"}
    before, same, after = (
        job(tmp_path / name, {**own(written), **files})
        for name, files in {"before": {}, "same": {}, "after": changed}.items()
    )
    assert before.key == same.key != after.key
    assert before.repeatable


@pytest.mark.parametrize("written", COMPUTED.values(), ids=COMPUTED)
def test_what_no_text_tells_is_computed_without_the_cache(tmp_path: Path, written: tuple[str, str]) -> None:
    with pytest.warns(UserWarning, match=r"without the cache: no text tells what own.py does in line \d+: "):
        assert not job(tmp_path, own(written)).repeatable


@pytest.mark.parametrize("written", HARMLESS.values(), ids=HARMLESS)
def test_what_looks_like_it_is_kept(tmp_path: Path, written: tuple[str, str]) -> None:
    assert job(tmp_path, own(written)).repeatable


@pytest.mark.parametrize("written", READ.values(), ids=READ)
def test_key_changes_with_a_value_in_a_module_that_is_set(tmp_path: Path, written: tuple[str, str]) -> None:
    before, same, after = (
        job(tmp_path / name, own(written), f"import pk.deep.h\npk.deep.h.K = {k}\n").key
        for name, k in {"before": 5, "same": 5, "after": 6}.items()
    )
    assert before == same != after
