"""Any draft round trips; any other bytes are a transaction or a stable refusal, never another error."""

from __future__ import annotations

from typing import Annotated

import cbor2
import msgspec
import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from kinds_world import no_events
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, decode_transaction, sign_transaction

NETWORK = bytes(range(32))
SUITES = {name: get_suite(name) for name in ("intl", "gm")}
KEYS = {name: [suite.signing_key_from_seed(bytes([n]) * 32) for n in range(1, 4)] for name, suite in SUITES.items()}


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    label: Annotated[str, Meta(max_length=40)] | None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    a: Annotated[bytes, Meta(max_length=300)]
    text: Annotated[str, Meta(max_length=300)]
    parts: Annotated[list[Part], Meta(max_length=5)]
    is_set: bool


def check_nothing(*_arguments):
    return


KINDS = KindTable([Kind(name="note.write", room="note", version=1, body=Body, check=check_nothing, apply=no_events)])
PARTS = st.builds(
    Part,
    count=st.integers(-(2**63), 2**63 - 1),
    label=st.none() | st.text(max_size=40),
)
BODIES = st.builds(
    Body,
    a=st.binary(max_size=300),
    text=st.text(max_size=300),
    parts=st.lists(PARTS, max_size=5),
    is_set=st.booleans(),
)
DRAFTS = st.builds(
    TransactionDraft,
    kind=st.just("note.write"),
    version=st.just(1),
    body=BODIES,
    author=st.from_regex(r"[a-z][a-z0-9-]{1,31}", fullmatch=True).map(MemberId),
    valid_until_ms=st.integers(0, 2**53 - 1),
    id=st.binary(min_size=16, max_size=16),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.binary(max_size=9) | st.text(max_size=9)
PLAIN_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
LEDGER_VALUES = st.recursive(
    SCALARS | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def decode(raw, name="intl"):
    return decode_transaction(raw, kinds=KINDS, network=NETWORK, suite=SUITES[name])


def code_of(raw):
    """Return the code with which bytes are refused, or an empty string."""
    try:
        decode(raw)
    except InvalidInput as refusal:
        return refusal.code
    return ""


def sign(draft, name="intl", signers=1):
    return sign_transaction(draft, network=NETWORK, suite=SUITES[name], keys=KEYS[name][:signers])


@settings(max_examples=60, deadline=None)
@given(draft=DRAFTS, name=st.sampled_from(["intl", "gm"]), signers=st.integers(1, 3))
def test_any_draft_round_trips_in_deterministic_bytes(draft, name, signers):
    raw = sign(draft, name, signers)
    tx = decode(raw, name)
    assert (draft.body, draft.author, draft.id, draft.valid_until_ms) == (tx.body, tx.author, tx.id, tx.valid_until_ms)
    assert len(tx.signatures) == signers
    assert raw == cbor2.dumps(cbor2.loads(raw), canonical=True)
    assert tx.payload_bytes == encode_cbor(cbor2.loads(tx.payload_bytes))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), draft=DRAFTS)
def test_changed_bytes_are_refused_with_a_code_or_are_again_the_one_encoding(data, draft):
    raw = bytearray(sign(draft))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(raw)
    code = code_of(changed)
    is_the_one_encoding = code == "" and changed == cbor2.dumps(cbor2.loads(changed), canonical=True)
    assert is_the_one_encoding or code.startswith("ledger.")


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=200) | LEDGER_VALUES.map(cbor2.dumps))
def test_any_payload_in_a_good_envelope_is_refused_with_a_code(payload):
    entry = [encode_cbor({1: -19, 4: bytes([1]) * 16}), {}, bytes(64)]
    raw = cbor2.dumps(CBORTag(98, [b"", {}, payload, [entry]]), canonical=True)
    with pytest.raises(InvalidInput) as caught:
        decode(raw)
    assert caught.value.code == "ledger.tx_malformed"


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"\xd8\x62\x84\x40\xa0" + tail))
def test_any_bytes_are_refused_with_a_code(raw):
    with pytest.raises(InvalidInput) as caught:
        decode(raw)
    assert caught.value.code == "ledger.tx_malformed"


@settings(max_examples=150, deadline=None)
@given(draft=DRAFTS, body=st.dictionaries(st.text(max_size=3), PLAIN_VALUES, max_size=4))
def test_the_cheap_check_of_determinism_agrees_with_the_sorted_encoding(draft, body):
    """[LEDGER-TX-5]: a deterministic payload gets as far as its schema, any other is malformed."""
    raw = sign(draft)
    payload = cbor2.dumps({**cbor2.loads(decode(raw).payload_bytes), "body": body})
    protected, unprotected, _, signatures = cbor2.loads(raw).value
    expected = "ledger.body_invalid" if payload == encode_cbor(cbor2.loads(payload)) else "ledger.tx_malformed"
    assert expected == code_of(cbor2.dumps(CBORTag(98, [protected, unprotected, payload, signatures])))
