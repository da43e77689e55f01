from __future__ import annotations

import pytest

from models_world import ModelsWorld


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = ModelsWorld(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()
