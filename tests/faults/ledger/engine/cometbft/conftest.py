from __future__ import annotations

import pytest

from consensus_world import Consortium, Roster


@pytest.fixture
def roster():
    """The institutions of the consortium that is opened; a module may have others."""
    return Roster()


@pytest.fixture
def open_consortium(tmp_path, roster):
    """Open a consortium, closed when the test ends."""
    found = []

    def open_one(**more):
        found.append(Consortium(tmp_path, roster, **more))
        return found[-1]

    yield open_one
    for consortium in found:
        consortium.close()
