"""Short names of options are whoever's wants them, before or after."""

import pytest

pytest_plugins = ["pytester"]
_ADDS = {
    "anonymously": "parser.addoption('--seeds', default='grass')",
    "in a group": "parser.getgroup('house').addoption('--seeds', default='grass')",
    "in a group that exists": "parser.getgroup('general').addoption('--seeds', default='grass')",
    "beside another name": "parser.addoption('--sow', '--seeds', default='grass', dest='seeds')",
}
_TEST = """
def test_options(pytestconfig):
    assert pytestconfig.getoption("seeds") == "clover"
    assert pytestconfig.getoption("gradshape_seeds") == "7"
    assert pytestconfig.getoption("gradshape_scale") == "smoke"
"""


@pytest.mark.parametrize("adds", _ADDS)
@pytest.mark.parametrize("where", ["conftest", "plugin before"])
def test_an_option_of_somebody_else_is_theirs(pytester: pytest.Pytester, adds: str, where: str) -> None:
    source = f"def pytest_addoption(parser):\n    {_ADDS[adds]}\n"
    if where == "conftest":
        pytester.makeconftest(source)
        options: list[str] = []
    else:
        pytester.makepyfile(sown=source)
        pytester.syspathinsert()
        options = ["-p", "sown"]
    pytester.makepyfile(test_options=_TEST)
    pytester.makeini("[pytest]\n")
    done = pytester.runpytest_subprocess(*options, "--seeds=clover", "--gradshape-seeds=7", "--scale=smoke")
    done.assert_outcomes(passed=1)


def test_what_nobody_else_wants_keeps_both_names(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(
        test_options='def test_seeds(pytestconfig): assert pytestconfig.getoption("gradshape_seeds") == "7"'
    )
    for name in ("--seeds", "--gradshape-seeds"):
        pytester.runpytest_subprocess(name, "7").assert_outcomes(passed=1)


def test_errors_say_the_name_that_is_still_there(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"def pytest_addoption(parser):\n    {_ADDS['anonymously']}\n")
    pytester.makeini("[pytest]\n")
    done = pytester.runpytest_subprocess("--gradshape-seeds=x")
    done.stderr.fnmatch_lines(["ERROR: --gradshape-seeds: 'x': expected a whole number*"])
