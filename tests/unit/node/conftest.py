from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in ("SHUIQIAO_HOME", "SHUIQIAO_PASSPHRASE_FILE", "SHUIQIAO_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
