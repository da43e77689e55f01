"""The networks and logs that the tests of the ledger's rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kinds_world import EpochBody, KeyBody, Network, NoteBody, build_network
from shuiqiao.crypto.suites import get_suite
from witnessed_world import WitnessedLog


@pytest.fixture(params=["intl", "gm"])
def network(request: pytest.FixtureRequest) -> Network:
    return build_network(request.param)


@pytest.fixture
def intl() -> Network:
    return build_network("intl")


@pytest.fixture
def note_body() -> type[NoteBody]:
    return NoteBody


@pytest.fixture
def key_body() -> type[KeyBody]:
    return KeyBody


@pytest.fixture
def epoch_body() -> type[EpochBody]:
    return EpochBody


@pytest.fixture(params=["intl", "gm"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WitnessedLog]:
    made = WitnessedLog(suite=get_suite(request.param), folder=tmp_path)
    yield made
    for witness in made.open:
        witness.close()


@pytest.fixture
def intl_log(tmp_path: Path) -> Iterator[WitnessedLog]:
    made = WitnessedLog(suite=get_suite("intl"), folder=tmp_path)
    yield made
    for witness in made.open:
        witness.close()
