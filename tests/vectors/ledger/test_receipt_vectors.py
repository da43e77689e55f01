"""Receipts that hold and receipts that do not, with the genesis they are judged by: [LEDGER-RECEIPT-2], [LEDGER-RECEIPT-4]."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.kinds import network_kinds

FILES = {name: json.loads((Path(__file__).parent / f"receipts_{name}.json").read_text()) for name in ("intl", "gm")}


def verify(vectors, data):
    parameters = network_parameters(vectors["genesis"].encode())
    assert vectors["network"] == parameters.network.hex()
    return verify_receipt(
        data,
        parameters=parameters,
        kinds=network_kinds(),
        key_ring=MemberKeyRing(),
        suite=get_suite(parameters.suite),
    )


@pytest.mark.parametrize("suite", FILES)
def test_receipts_that_hold_say_what_is_written(suite):
    for expected in FILES[suite]["valid"]:
        found = verify(FILES[suite], bytes.fromhex(expected["receipt"]))
        assert {
            "title": expected["title"],
            "receipt": expected["receipt"],
            "kind": found.kind,
            "author": found.author,
            "index": found.index,
            "height": found.height,
            "time_ms": found.time_ms,
            "size": found.checkpoint.size,
            "root": found.checkpoint.root.hex(),
            "operator": found.operator,
            "cosigners": list(found.cosigners),
            "epochs": found.epochs,
            "signers": str(found.signers),
            "state": {claim.key: None if claim.value is None else claim.value.hex() for claim in found.state},
        } == expected


@pytest.mark.parametrize("suite", FILES)
def test_receipts_that_do_not_hold_are_refused_with_their_codes(suite):
    for case in FILES[suite]["invalid"]:
        with pytest.raises(ShuiqiaoError) as caught:
            verify(FILES[suite], bytes.fromhex(case["receipt"]))
        assert (case["title"], case["code"]) == (case["title"], caught.value.code)


def test_the_stories_cover_every_step():
    epochs = {found["epochs"] for found in FILES["intl"]["valid"]}
    signers = {found["signers"] for found in FILES["intl"]["valid"]}
    assert ({0, 2}, {"genesis", "state", "ledger"}) == (epochs, signers)
    assert len(FILES["intl"]["invalid"]) == len(FILES["gm"]["invalid"]) >= 19
