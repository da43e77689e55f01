from __future__ import annotations

import pytest

from exchange_world import ExchangeWorld


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = ExchangeWorld(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()
