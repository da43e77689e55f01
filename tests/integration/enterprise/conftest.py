from __future__ import annotations

import pytest

from firms_world import FirmsWorld, firms_world


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> FirmsWorld:
    with firms_world(tmp_path_factory.mktemp("firms")) as opened:
        yield opened
