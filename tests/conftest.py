"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

from absence import absent

ROOT = Path(__file__).resolve().parent.parent


LONG = {"e2e", "faults", "integration"}
"""Folders whose tests take seconds and minutes; those of the others take milliseconds."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only ``make test-long`` runs, and let each worker begin with its share of the files that take long.

    What is left at the end can then be shared in small pieces. The files stay whole, and their tests in order.
    """
    if "SHUIQIAO_TEST_LONG" not in os.environ:
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = [path for path in files if path.relative_to(ROOT / "tests").parts[0] in LONG]
    short = [path for path in files if path not in set(long)]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += [item for path in long[worker::workers] for item in files[path]]
        while short and len(ordered) + len(files[short[0]]) <= len(items) * (worker + 1) // workers:
            ordered += files[short.pop(0)]
    items[:] = ordered + [item for path in short for item in files[path]]


@pytest.fixture(scope="module", autouse=True)
def quiet_log() -> None:
    """Let servers in this process log for nobody: their threads go on while other tests look at what is printed."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public research data, named by SHUIQIAO_DATA (default: ../shared/data beside the checkout).

    Where it is absent the test is skipped, but in CI absence is a failure: a claim about real data must be run.
    """
    folder = Path(os.environ.get("SHUIQIAO_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "cumcm2020c").is_dir():
        absent(f"the research data is not at {folder}: set SHUIQIAO_DATA to its folder")
    return folder
