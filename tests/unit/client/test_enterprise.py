"""What stands beside an enterprise's key: which bureau knows it, with the address and its pin, and nothing else."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, Unavailable
from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace, KnownBureau
from shuiqiao.client.resources.own import ConsentChoice
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.dispute_statement import MAX_REASON_CHARS, decode_dispute
from shuiqiao.ledger.transactions.document import verify_document
from shuiqiao.members.endpoint import endpoint_of_text

PINNED = f"https://tax.example:443#{'a5' * 32}"
KNOWN = KnownBureau(taxpayer="9199000000000001X0", bureau="tax-bureau", network="8f" * 32, url=PINNED)


@pytest.fixture
def place(tmp_path):
    return KeyPlace(tmp_path / "firm.key")


def test_what_is_known_is_read_back_with_its_pin(place):
    place.save_known(KNOWN)
    assert place.load_known() == KNOWN
    assert endpoint_of_text(place.load_known().url).pin == b"\xa5" * 32


def test_a_bureau_that_moved_is_the_same_and_another_is_not(place):
    place.save_known(KNOWN)
    moved = KnownBureau(**{**fields(), "url": "https://new.example:443"})
    place.save_known(moved)
    assert place.load_known() == moved
    for change in ({"bureau": "other"}, {"network": "00" * 32}, {"taxpayer": "9199000000000002X0"}):
        with pytest.raises(Conflict, match=r"client\.bureau_differs"):
            place.save_known(KnownBureau(**{**fields(), **change}))
    assert place.load_known() == moved


def fields():
    return {name: getattr(KNOWN, name) for name in KNOWN.__struct_fields__}


def test_a_file_that_is_absent_or_damaged_says_so(place):
    with pytest.raises(Unavailable, match=r"client\.bureau_unknown"):
        place.load_known()
    for raw in (b"", b"[]", b'{"bureau":"b"}', b"\xff", b"{" * 4000):
        place.known.write_bytes(raw)
        with pytest.raises(IntegrityError, match=r"client\.bureau_file_damaged"):
            place.load_known()


@pytest.mark.parametrize("name", ["intl", "gm"])
def test_a_dispute_is_signed_by_the_key_that_the_bureau_knows(name):
    suite = get_suite(name)
    keys = EnterpriseKeys(bytes(range(32)), suite=suite)
    device, network = EnterpriseDevice(keys, KNOWN), bytes.fromhex(KNOWN.network)
    document = decode_dispute(device.dispute(b"b" * 16, 3, reason="误"), network=network, suite=suite)
    key = keys.enrolment_key(device.bureau, network=network).public_key
    verify_document(document, public_keys=(key,), suite=suite)
    assert (document.body.taxpayer, document.body.bureau, document.body.leaf) == (KNOWN.taxpayer, KNOWN.bureau, 3)
    for reason in ("", "x" * (MAX_REASON_CHARS + 1)):
        with pytest.raises(InvalidInput, match=r"client\.reason_invalid"):
            device.dispute(b"b" * 16, 3, reason=reason)


@pytest.mark.parametrize("name", ["", "x", "tax-bureau", "tax-bureau/zz", "Tax/" + "0f" * 16, "a/b/" + "0f" * 16])
def test_what_names_no_consent_is_refused(name):
    with pytest.raises(InvalidInput, match=r"client\.consent_invalid"):
        ConsentChoice.of(name)
