from __future__ import annotations

import pytest

from shuiqiao.crypto.suites import get_suite

SEED = bytes(range(32))


@pytest.fixture(params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


@pytest.fixture
def other_suite(suite):
    return get_suite({"intl": "gm", "gm": "intl"}[suite.name])
