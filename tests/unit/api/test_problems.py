"""What refusals tell: the owner of a home of its own files, anybody else the code alone."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine

from shuiqiao.api.problems import response_of
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.node.home.schema import shown

SECRETS = ("HUNTER2", "/srv/bank", "db.inside", "connection failed")


def told(error, *, is_owners):
    return json.loads(bytes(response_of(error, is_owners=is_owners).body))


@pytest.mark.parametrize(
    "error",
    [
        Unavailable(
            "node.database_unavailable",
            "the database postgresql://db.inside/x?password=HUNTER2 cannot be used: connection failed",
            next_step="let this account read and write /srv/bank/shuiqiao.db",
            retry_after_s=5.0,
        ),
        IntegrityError("ledger.segment_damaged", "/srv/bank/ledger/segments/1.segment at byte 7, in block 2: no CBOR"),
        Unavailable("crypto.key_file_unreadable", "the key file /srv/bank/keys/sign.key.json cannot be read"),
    ],
)
def test_what_is_wrong_with_a_homes_own_files_is_told_to_its_owner_alone(error):
    """[API-6]"""
    outside, inside = told(error, is_owners=False), told(error, is_owners=True)
    assert not [word for word in SECRETS if word in json.dumps(outside)]
    assert (outside["code"], outside["status"], outside["kind"]) == (inside["code"], inside["status"], inside["kind"])
    assert outside["retry_after_s"] == inside["retry_after_s"]
    assert outside["next_step_zh"]
    assert inside["detail"] == error.message


def test_other_refusals_tell_the_same_to_everybody():
    error = Unavailable("ledger.quorum_not_reached", "no witness is connected", retry_after_s=1.0)
    assert told(error, is_owners=False) == told(error, is_owners=True)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://u:HUNTER2@h/x", "postgresql+psycopg://h/x?user=u&password=HUNTER2&sslpassword=HUNTER2"],
)
def test_a_database_is_named_without_what_opens_it(url):
    name = shown(create_engine(url))
    assert "HUNTER2" not in name
    assert name.startswith("postgresql+psycopg://")
