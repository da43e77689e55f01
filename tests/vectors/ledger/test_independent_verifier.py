"""The specification alone leads to the same verdicts: every receipt vector, judged by the verifier written from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from independent_parts import Refused  # noqa: E402 - the verifier stands beside its tests, in no package
from independent_verifier import verify  # noqa: E402

SUITES = ("intl", "gm")
VECTORS: dict[str, Any] = {suite: json.loads((HERE / f"receipts_{suite}.json").read_text()) for suite in SUITES}


def _cases(verdict: str) -> list[Any]:
    return [
        pytest.param(VECTORS[suite]["genesis"].encode(), case, id=f"{suite}: {case['title']}")
        for suite in SUITES
        for case in VECTORS[suite][verdict]
    ]


@pytest.mark.parametrize(("genesis", "case"), _cases("valid"))
def test_a_valid_receipt_says_what_the_vector_says(genesis: bytes, case: dict[str, Any]) -> None:
    expected = {name: value for name, value in case.items() if name not in ("title", "receipt")}
    assert verify(bytes.fromhex(case["receipt"]), genesis) == expected


@pytest.mark.parametrize(("genesis", "case"), _cases("invalid"))
def test_an_invalid_receipt_is_refused(genesis: bytes, case: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        verify(bytes.fromhex(case["receipt"]), genesis)


def test_no_changed_byte_leaves_a_receipt_that_verifies() -> None:
    genesis = VECTORS["intl"]["genesis"].encode()
    receipt = min((bytes.fromhex(case["receipt"]) for case in VECTORS["intl"]["valid"]), key=len)
    verify(receipt, genesis)
    for place in range(0, len(receipt), 3):
        changed = bytearray(receipt)
        changed[place] ^= 0x01
        with pytest.raises(Refused):
            verify(bytes(changed), genesis)


@pytest.mark.parametrize("suite", SUITES)
def test_a_receipt_of_another_network_is_refused(suite: str) -> None:
    other = VECTORS["gm" if suite == "intl" else "intl"]["genesis"].encode()
    for case in VECTORS[suite]["valid"]:
        with pytest.raises(Refused):
            verify(bytes.fromhex(case["receipt"]), other)
