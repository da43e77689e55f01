"""The page of e-invoices lists every check as it is."""

from __future__ import annotations

import re
from pathlib import Path

from shuiqiao.invoices.model import load_checks

PAGE = Path(__file__).parents[3] / "docs" / "spec" / "invoices.md"
UNCONFIRMED = " (unconfirmed 未经证实)"


def test_the_page_lists_every_check_as_it_is():
    """[INVOICE-1]"""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [
        (
            check.id,
            check.part,
            check.effect.replace("_", " "),
            f"{check.en} {check.zh}{'' if check.confirmed else UNCONFIRMED}",
        )
        for check in load_checks().values()
    ]
