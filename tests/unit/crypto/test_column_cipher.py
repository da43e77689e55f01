"""Encrypted columns: what is stored opens in its own column and row alone, and is found by a keyed tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.column_cipher import (
    LOOKUP_TAG_BYTES,
    VALUE_OVERHEAD_BYTES,
    ColumnCipher,
    EncryptedColumns,
)
from shuiqiao.crypto.file_cipher import data_key_id
from shuiqiao.crypto.model import SuiteName

SEED = bytes(range(32))
COLUMNS = EncryptedColumns(table="thing", key="id", columns={"who": str, "much": int, "raw": bytes, "same": bytes})
ROW = {"id": "bureau/07", "who": "91440300MA5EXAMPL1", "much": -(2**63), "raw": b"", "same": None, "open": 7}


def cipher_of(seed=SEED, suite=SuiteName.INTL):
    return ColumnCipher(lambda: seed, suite=suite, entropy=system_entropy)


@pytest.fixture(params=list(SuiteName))
def suite(request):
    return request.param


@given(who=st.text(), much=st.integers(-(2**63), 2**63 - 1), raw=st.binary(), key=st.text() | st.binary())
def test_a_row_comes_back_as_it_was(who, much, raw, key):
    row = {"id": key, "who": who, "much": much, "raw": raw, "same": None}
    cipher = cipher_of()
    stored = cipher.encrypt_row(COLUMNS, row)
    assert len(stored["raw"]) == len(raw) + VALUE_OVERHEAD_BYTES
    assert cipher_of().decrypt_row(COLUMNS, stored) == row


def test_only_what_is_secret_is_encrypted_and_each_time_anew(suite):
    cipher = cipher_of(suite=suite)
    one, other = (cipher.encrypt_row(COLUMNS, ROW) for _ in range(2))
    assert {name for name in ROW if one[name] == ROW[name]} == {"id", "same", "open"}
    assert all(one[name] != other[name] for name in ("who", "much", "raw"))
    assert cipher.decrypt_row(COLUMNS, {"id": ROW["id"], "who": one["who"]}) == {"id": ROW["id"], "who": ROW["who"]}


def code_of(cipher, columns, row):
    with pytest.raises(IntegrityError) as caught:
        cipher.decrypt_row(columns, row)
    return caught.value.code


def test_what_was_changed_or_moved_does_not_open(suite):
    cipher = cipher_of(suite=suite)
    stored = cipher.encrypt_row(COLUMNS, ROW)
    raw = stored["who"]
    changed = [raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :] for place in range(len(raw))]
    cut = [raw[:length] for length in range(len(raw))]
    for each in (*changed, *cut, raw + b"\x00"):
        assert code_of(cipher, COLUMNS, {"id": ROW["id"], "who": each}) == "crypto.column_damaged"
    assert code_of(cipher, COLUMNS, {"id": "bureau/08", "who": raw}) == "crypto.column_damaged"
    assert code_of(cipher, COLUMNS, {"id": ROW["id"], "same": stored["raw"]}) == "crypto.column_damaged"
    elsewhere = EncryptedColumns(table="other", key="id", columns={"who": str})
    assert code_of(cipher, elsewhere, {"id": ROW["id"], "who": raw}) == "crypto.column_damaged"
    assert code_of(cipher_of(bytes(32), suite), COLUMNS, stored) == "crypto.column_damaged"


def test_a_tag_is_of_the_value_and_the_key(suite):
    tag = cipher_of(suite=suite).tag("91440300MA5EXAMPL1")
    assert len(tag) == LOOKUP_TAG_BYTES
    assert tag == cipher_of(suite=suite).tag("91440300MA5EXAMPL1")
    assert tag not in {cipher_of(suite=suite).tag("91440300MA5EXAMPL2"), cipher_of(bytes(32), suite).tag(ROW["who"])}


def test_the_key_is_opened_once_and_only_when_it_is_needed():
    opened = []
    cipher = ColumnCipher(lambda: opened.append(1) or SEED, suite=SuiteName.INTL, entropy=system_entropy)
    assert cipher.encrypt_row(COLUMNS, {"id": "a", "who": None}) == {"id": "a", "who": None}
    assert opened == []
    cipher.encrypt_row(COLUMNS, ROW)
    cipher.tag("a")
    assert opened == [1]


def test_the_form_on_disk_stays(suite):
    """A database is read by later programs: these bytes were written by the first one."""
    form = {
        SuiteName.INTL: (
            "0100000000000000000000000044f62007b00a8326f0c1f6be5f80fc0ba9",
            "fe8b23b24952a3a61ebe8e1605f0cf9a9cb9fc87dd4a8fe219084898661b3335",
            "2db560f3347e8bcdaa0c6d7ec62d1b43",
        ),
        SuiteName.GM: (
            "0100000000000000000000000036569f7f34fc770f62f27d6913753d8dbc",
            "d21fff182e0f658e03ffa78fe41d9b7e65d7bcbe939a2dd89647c0bf9200ebff",
            "9f8523020587ac6f612eee2f2657e8a6",
        ),
    }
    cipher = ColumnCipher(lambda: SEED, suite=suite, entropy=bytes)
    stored = cipher.encrypt_row(COLUMNS, {"id": "a", "who": "b"})["who"].hex()
    assert (stored, cipher.tag("b").hex(), data_key_id(SEED, suite=suite).hex()) == form[suite]
