"""What the ledger holds of a model: a commitment that needs the salt, and no more than digests and ids."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import inspect

from shuiqiao.models.contract import KINDS
from shuiqiao.models.model import commitment_of


def sha256(data):
    return hashlib.sha256(data).digest()


def test_a_commitment_is_of_salt_and_content_under_a_name_of_its_own():
    """[MODEL-1]"""
    found = commitment_of(b"content", salt=b"s" * 32, digest=sha256)
    assert found == sha256(b"shuiqiao/models/commitment/1\x00" + b"s" * 32 + b"content")
    assert found not in {
        commitment_of(b"content", salt=b"t" * 32, digest=sha256),
        commitment_of(b"tent", salt=b"s" * 32 + b"con", digest=sha256)[:31],
        sha256(b"content"),
    }


def test_no_field_on_the_ledger_holds_more_than_a_digest_or_an_id():
    """[MODEL-1]"""
    for kind in KINDS:
        for field in inspect.type_info(kind.body).fields:
            if isinstance(field.type, inspect.BytesType):
                assert field.type.max_length in {16, 32}, (kind.name, field.name)
            if isinstance(field.type, inspect.StrType):
                assert field.type.max_length <= 65, (kind.name, field.name)
        assert issubclass(kind.body, msgspec.Struct)
