from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shuiqiao.standards.model import Catalogue
from shuiqiao.standards.publication import load_catalogue


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def invoice() -> Callable[..., dict[str, Any]]:
    """Build one good issued invoice as text cells under canonical names, with changes."""

    def build(**changes: Any) -> dict[str, Any]:
        cells: dict[str, Any] = {
            "uscc": "91440300MA5EXAMPL1",
            "invoice_no": "24442000000012345678",
            "issue_date": "2024-03-05",
            "status": "valid",
            "is_red_letter": "false",
            "amount_fen": "100000",
            "tax_fen": "13000",
            "total_fen": "113000",
            "counterparty_id": "914403000000000002",
        }
        return cells | changes

    return build
