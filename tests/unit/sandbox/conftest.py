"""One small economy for the whole folder: two neighbourhoods and a cut third, written once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from shuiqiao.sandbox.economy.files import write_economy
from shuiqiao.sandbox.economy.generation import Economy, generate_economy
from shuiqiao.sandbox.economy.model import Case, EconomyFiles

TAXPAYERS = 60
SEED = 20260630
AS_OF = date(2026, 6, 30)


@pytest.fixture(scope="session")
def economy() -> Economy:
    return generate_economy(taxpayers=TAXPAYERS, seed=SEED, as_of=AS_OF)


@pytest.fixture(scope="session")
def cases(economy: Economy) -> tuple[Case, ...]:
    return tuple(economy.cases())


@pytest.fixture(scope="session")
def economy_files(economy: Economy, tmp_path_factory: pytest.TempPathFactory) -> EconomyFiles:
    folder: Path = tmp_path_factory.mktemp("economy") / "files"
    return write_economy(economy, folder)
