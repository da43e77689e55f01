"""[LEDGER-NOTE-3]: key hash and signed bytes are those of the signed notes in use elsewhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import note_key_hash


def test_a_published_note_has_our_key_hash_and_its_signature_holds_by_our_suite():
    vector = json.loads((Path(__file__).parent / "signed_note.json").read_text())
    name, key_hash, key = vector["verifier_key"].split("+")
    kind, public_key = base64.b64decode(key)[:1], base64.b64decode(key)[1:]
    blob = base64.b64decode(vector["signature"])
    suite = get_suite("intl")
    assert (kind, key_hash) == (b"\x01", blob[:4].hex())
    assert blob[:4] == note_key_hash(name, public_key=public_key, suite=suite)
    suite.verify_signature(public_key=public_key, message=vector["text"].encode(), signature=blob[4:])
