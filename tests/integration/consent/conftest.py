from __future__ import annotations

import pytest

from consent_world import ConsentWorld


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = ConsentWorld(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()
