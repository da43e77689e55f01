"""The file of credentials for predicates: what it keeps, for how long, and what it refuses to rely on."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.client.anoncreds_file import (
    MAX_KEPT,
    MAX_PENDING,
    MAX_SHOWN_TO,
    AnonCredsFile,
    KeptCredential,
    PendingRequest,
)
from shuiqiao.privacy.credentials.anoncreds import decode_definition, encode_text

TAILS = b"tails" * 100


def definition(**changes):
    """A definition in the form of one."""
    fields = {
        "version": 1,
        "network": "0a" * 32,
        "status_list": "bureau/" + "0b" * 16,
        "closes_s": 1,
        "expires_s": 2,
        "places": 16,
        "tails": hashlib.sha256(TAILS).hexdigest(),
        "schema": {},
        "keys": {},
        "keys_proof": {},
        "registry": {},
    }
    return decode_definition(json.dumps(fields | changes).encode())


def credential(number, *, expires_ms=1_000):
    return KeptCredential(
        request=f"{number:032x}",
        definition=encode_text(definition().raw),
        credential=encode_text(b"{}"),
        expires_ms=expires_ms,
    )


@pytest.fixture
def file(tmp_path):
    return AnonCredsFile(tmp_path / "firm.key")


def code_of(act, *arguments):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments)
    return refusal.value.code


def test_it_keeps_what_it_is_given_and_drops_what_expired(file):
    assert file.credentials() == []
    file.add(credential(1, expires_ms=10), now_ms=0)
    file.add(credential(2, expires_ms=20), now_ms=5)
    assert [each.request[-1] for each in file.credentials()] == ["1", "2"]
    file.add(credential(3), now_ms=10)
    assert [each.request[-1] for each in file.credentials()] == ["2", "3"]
    assert file.credentials()[-1].read_definition() == definition()
    for number in range(4, 30):
        file.add(credential(number), now_ms=10)
    assert len(file.credentials()) == MAX_KEPT
    # The same again takes no second place.
    file.add(file.credentials()[0], now_ms=10)
    assert len({each.request for each in file.credentials()}) == MAX_KEPT


def test_what_a_request_needs_is_there_until_its_credential_came(file):
    """[CREDENTIAL-14]"""
    for number in range(MAX_PENDING + 1):
        file.keep_pending(PendingRequest(request=f"{number:032x}", definition="e30", metadata=str(number)))
    assert file.pending(f"{1:032x}").metadata == "1"
    assert code_of(file.pending, f"{0:032x}") == "client.credentials_damaged"
    file.add(credential(1), now_ms=0)
    assert code_of(file.pending, f"{1:032x}") == "client.credentials_damaged"
    assert file.pending(f"{2:032x}").metadata == "2"


def test_it_says_whom_a_credential_was_shown_to_lately(file):
    file.add(credential(1), now_ms=0)
    file.add(credential(2), now_ms=0)
    for number in range(MAX_SHOWN_TO + 1):
        file.note_shown(file.credentials()[0], to=f"bank/{number}")
    first, second = file.credentials()
    assert (len(first.shown_to), first.shown_to[0], first.shown_to[-1]) == (MAX_SHOWN_TO, "bank/1", "bank/100")
    assert second.shown_to == []


def test_tails_are_those_that_the_definition_names_or_none(file):
    """[CREDENTIAL-14]"""
    found = definition()
    assert code_of(file.tails, found) == "client.tails_differ"
    assert code_of(file.keep_tails, found, TAILS + b"x") == "client.tails_differ"
    file.keep_tails(found, TAILS)
    assert file.tails(found).read_bytes() == TAILS
    file.tails(found).write_bytes(TAILS[:-1])
    assert code_of(file.tails, found) == "client.tails_differ"


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"version":2}', b'{"credentials":[{}],"version":1}'])
def test_a_damaged_file_is_refused_and_left_as_it_is(file, raw):
    file.path.write_bytes(raw)
    assert code_of(file.credentials) == "client.credentials_damaged"
    with pytest.raises(ShuiqiaoError, match=r"client\.credentials_damaged"):
        file.add(credential(1), now_ms=0)
    assert file.path.read_bytes() == raw


def test_a_definition_is_of_one_form():
    """[CREDENTIAL-12]"""
    raw = msgspec.json.decode(definition().raw)
    for name, value in (("status_list", "bureau"), ("places", 1), ("places", 8_193), ("tails", "0a"), ("other", 1)):
        with pytest.raises(ShuiqiaoError, match=r"privacy\.definition_malformed"):
            decode_definition(json.dumps(raw | {name: value}).encode())
