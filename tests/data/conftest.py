"""No test of this folder sees the user's data or settings unless it asks for them."""

import pytest


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADSHAPE_DATA", "GRADSHAPE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    # A proxy would be asked for addresses of this machine too.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
