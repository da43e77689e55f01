"""An independent COSE library verifies our transactions and refuses broken ones [LEDGER-TX-3]."""

from __future__ import annotations

import cbor2
import pytest
from cbor2 import CBORTag
from cwt import COSE, COSEKey
from cwt.exceptions import VerifyError


def public_key_of(network, name):
    key = network.keys[name]
    return COSEKey.new({1: 1, 3: -19, -1: 6, -2: key.public_key, 2: key.key_id, 4: [2]})


def message_of(raw):
    """Return the message as cwt 3.3 takes it: with lists and dicts, which cbor2 6 decodes as immutable inside a tag."""
    protected, unprotected, payload, signatures = cbor2.loads(raw).value
    entries = [[head, dict(free), signature] for head, free, signature in signatures]
    return CBORTag(98, [protected, dict(unprotected), payload, entries])


@pytest.mark.parametrize("signers", [("bureau",), ("bureau", "first-bank", "second-bank")])
def test_every_signer_of_a_transaction_is_verified_by_cwt(intl, signers):
    raw = intl.sign(intl.draft(), *signers)
    for name in signers:
        payload = COSE.new().decode(message_of(raw), keys=[public_key_of(intl, name)])
        assert intl.machine.decode(raw).payload_bytes == payload


def test_cwt_refuses_a_signature_that_we_refuse(intl):
    raw = intl.write()
    broken = raw[:-1] + bytes([raw[-1] ^ 1])
    with pytest.raises(VerifyError):
        COSE.new().decode(message_of(broken), keys=[public_key_of(intl, "bureau")])
    assert intl.refusal_of(broken) == "ledger.signature_invalid"
