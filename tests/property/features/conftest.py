"""One feature engine for the property tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shuiqiao.features.engine import FeatureEngine


@pytest.fixture(scope="session")
def engine() -> Iterator[FeatureEngine]:
    with FeatureEngine(threads=2) as engine:
        yield engine
