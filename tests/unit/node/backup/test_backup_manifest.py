"""The signature of a backup's manifest holds, or it does not, or nobody knows."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.crypto import intl
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.backup.archive import signed_message, verify_manifest

SUITE = get_suite("intl")
KEY = SUITE.signing_key_from_seed(bytes(32))
DATA = b"{}"


def test_a_manifest_is_called_altered_only_where_its_signature_does_not_hold(monkeypatch):  # [LEDGER-SIGN-4]
    signature = KEY.sign(signed_message(DATA, suite=SUITE))
    verify_manifest(DATA, signature=signature, key=KEY.public_key, suite=SUITE)
    with pytest.raises(IntegrityError, match=r"node\.backup_signature_invalid"):
        verify_manifest(b"{ }", signature=signature, key=KEY.public_key, suite=SUITE)

    def fail(*_arguments):
        raise RuntimeError("no")

    monkeypatch.setattr(intl, "crypto_sign_open", fail)
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        verify_manifest(DATA, signature=signature, key=KEY.public_key, suite=SUITE)
