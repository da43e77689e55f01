"""[CONSENT-29]: the scenarios of the field's certification tables, each played by a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path("docs/reference/consent-scenarios.md")
ROW = re.compile(
    r"^\| (?P<scenarios>(?:FIP|FIU|AA) [^|]+) \| [^|]+ \| [^|]+ \| `(?P<path>[\w/.]+)::(?P<test>\w+)` \|$", re.MULTILINE
)
ROWS = [(row["scenarios"], row["path"], row["test"]) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def test_every_row_of_the_page_is_read():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 > 30


@pytest.mark.parametrize(("scenarios", "path", "test"), ROWS, ids=[row[0] + " " + row[2] for row in ROWS])
def test_a_scenario_is_played_by_a_test(scenarios, path, test):
    assert f"def {test}(" in Path(path).read_text(encoding="utf-8"), scenarios
