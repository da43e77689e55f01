"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from absence import absent

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public research data, named by SHUIQIAO_DATA (default: ../shared/data beside the checkout).

    Where it is absent the test is skipped, but in CI absence is a failure: a claim about real data must be run.
    """
    folder = Path(os.environ.get("SHUIQIAO_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "cumcm2020c").is_dir():
        absent(f"the research data is not at {folder}: set SHUIQIAO_DATA to its folder")
    return folder
