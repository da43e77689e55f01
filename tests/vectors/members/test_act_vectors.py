"""[MEMBER-23]: an act is named by its body, kind, author and network; a change of the name would part nodes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
import msgspec
import pytest

from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.action import act_digest
from shuiqiao.members.contract import PROPOSE, SUSPEND, MemberProposeBody, MemberSuspendBody

VECTORS = json.loads(Path(__file__).with_name("acts.json").read_text())
SUITES = pytest.mark.parametrize("vector", VECTORS["suites"], ids=lambda vector: vector["suite"])
HASHES = {"intl": "sha256", "gm": "sm3"}
BODIES = {PROPOSE: MemberProposeBody, SUSPEND: MemberSuspendBody}


@SUITES
def test_acts_have_the_digests_of_the_vectors(vector):
    suite = get_suite(vector["suite"])
    for act in vector["acts"]:
        body = msgspec.convert(cbor2.loads(bytes.fromhex(act["body"])), BODIES[act["kind"]], builtin_types=(bytes,))
        author, network = MemberId(act["author"]), bytes.fromhex(act["network"])
        found = act_digest(body, kind=act["kind"], author=author, network=network, suite=suite)
        assert act["digest"] == found.hex()


@SUITES
def test_the_words_of_the_specification_give_the_digests(vector):
    """With cbor2 and hashlib alone."""
    for act in vector["acts"]:
        named = {"kind": act["kind"], "author": act["author"], "network": bytes.fromhex(act["network"])}
        whole = cbor2.dumps({**named, "body": cbor2.loads(bytes.fromhex(act["body"]))}, canonical=True)
        assert act["digest"] == hashlib.new(HASHES[vector["suite"]], whole).hexdigest()
