import shutil

import pytest

from tests.bench.report.html.browser import chromium


@pytest.mark.parametrize(("wish", "outcome"), [("", pytest.skip.Exception), ("required", pytest.fail.Exception)])
def test_a_browser_that_is_missing_skips_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, wish: str, outcome: type[BaseException]
) -> None:
    pytest.importorskip("playwright", reason="its own reason would be another: the driver is missing")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("GRADSHAPE_BROWSER", wish)
    with pytest.raises(outcome, match="there is no Chromium"), chromium():
        pass
