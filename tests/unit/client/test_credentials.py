"""What a wallet proves predicates by: the definition that the ledger has, and no other."""

from __future__ import annotations

import json

import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.client.anoncreds_file import KeptCredential
from shuiqiao.client.credentials import CredentialWallet
from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace, KnownBureau
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.crypto.suites import get_suite
from shuiqiao.privacy.credentials.anoncreds import encode_text
from shuiqiao.privacy.credentials.model import LIST_SIZE, status_key

NAME = "bureau/" + "0b" * 16
RAW = json.dumps(
    {
        "version": 1,
        "network": "0a" * 32,
        "status_list": NAME,
        "closes_s": 1,
        "expires_s": 2,
        "places": 16,
        "tails": "0c" * 32,
        "schema": {},
        "keys": {},
        "keys_proof": {},
        "registry": {},
    }
).encode()
KEPT = KeptCredential(request="0d" * 16, definition=encode_text(RAW), credential=encode_text(b"{}"), expires_ms=1)


@pytest.fixture(params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


@pytest.fixture
def wallet(suite, tmp_path):
    known = KnownBureau(
        taxpayer="91440300MA5EXAMPL1", bureau="bureau", network="0a" * 32, url="https://bureau.example:8601"
    )
    device = EnterpriseDevice(EnterpriseKeys(bytes(32), suite=suite), known)

    def verify_receipt(_genesis, _receipt):
        raise AssertionError("no receipt is read here")

    return CredentialWallet(KeyPlace(tmp_path / "firm.key"), device, verify_receipt=verify_receipt)


def test_the_registry_is_the_one_of_the_definition_that_the_ledger_has(wallet, suite):
    """[CREDENTIAL-16]"""
    value = {"accumulator": b"a", "bits": bytes(LIST_SIZE // 8), "definition": suite.digest(RAW)}
    found = wallet._proven_registry(KEPT, {status_key(NAME): value})
    assert (found.definition, found.accumulator, found.revision) == (suite.digest(RAW), b"a", 1)


@pytest.mark.parametrize("found", ["another definition", "a status list", "nothing", "not proven"])
def test_a_definition_that_the_ledger_does_not_have_is_shown_to_nobody(wallet, found):
    """[CREDENTIAL-16]: a bureau gave this firm one of its own, by which it would be known again."""
    bits = bytes(LIST_SIZE // 8)
    values = {
        "another definition": {status_key(NAME): {"accumulator": b"a", "bits": bits, "definition": b"d" * 32}},
        "a status list": {status_key(NAME): {"bits": bits}},
        "nothing": {status_key(NAME): None},
        "not proven": {},
    }[found]
    with pytest.raises(ShuiqiaoError, match=r"client\.credential_foreign"):
        wallet._proven_registry(KEPT, values)
