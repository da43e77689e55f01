"""[LEDGER-TX-1] to [LEDGER-TX-5]: one form of a transaction, and a stable code for each way to miss it."""

from __future__ import annotations

import cbor2
import pytest
from cbor2 import CBORTag

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.transactions.transaction import (
    assemble_transaction,
    decode_transaction,
    encode_payload,
    sign_payload,
    signature_message,
)


def refusal(network, raw):
    with pytest.raises(InvalidInput) as caught:
        network.machine.decode(raw)
    return caught.value.code


def message(network, raw, **changes):
    """Return transaction bytes built by the CBOR library from the parts of good ones, some of them changed."""
    protected, unprotected, payload, signatures = cbor2.loads(raw).value
    parts = {
        "protected": protected,
        "unprotected": unprotected,
        "payload": payload,
        "signatures": signatures,
        **changes,
    }
    return cbor2.dumps(CBORTag(parts.pop("tag", 98), [*parts.values()][:4]), canonical=True)


def with_payload(network, raw, change):
    """Return bytes whose payload map was changed and encoded deterministically; its signature no longer matters."""
    fields = cbor2.loads(cbor2.loads(raw).value[2])
    change(fields)
    return message(network, raw, payload=encode_cbor(fields))


def test_decoding_gives_back_what_was_drafted(network):
    draft = network.draft("note.write", author="first-bank")
    raw = network.sign(draft)
    tx = network.machine.decode(raw)
    assert (raw, draft.kind, draft.version, draft.id, draft.author, draft.valid_until_ms, draft.body) == (
        tx.raw,
        tx.kind,
        tx.version,
        tx.id,
        tx.author,
        tx.valid_until_ms,
        tx.body,
    )
    assert [network.keys["first-bank"].key_id] == [signature.key_id for signature in tx.signatures]


def test_the_bytes_are_exactly_tagged_cose_sign_in_deterministic_cbor(network):
    """[LEDGER-TX-1]: built a second time by the CBOR library from the text of RFC 9052 sections 2 and 4.1."""
    draft = network.draft()
    key = network.keys["bureau"]
    protected = encode_cbor({1: network.suite.cose_algorithm, 4: key.key_id})
    payload = encode_cbor(
        {
            "network": network.parameters.network,
            "kind": draft.kind,
            "version": 1,
            "id": draft.id,
            "author": draft.author,
            "valid_until": draft.valid_until_ms,
            "body": {"id": draft.body.id, "text": "", "number": 0},
        }
    )
    signature = network.machine.decode(network.sign(draft)).signatures[0].signature
    expected = cbor2.dumps(CBORTag(98, [b"", {}, payload, [[protected, {}, signature]]]), canonical=True)
    raw = assemble_transaction(payload, signatures=network.machine.decode(expected).signatures)
    assert expected == raw


def test_the_signed_message_is_the_sig_structure_of_rfc_9052(network):
    """[LEDGER-TX-3]"""
    tx = network.machine.decode(network.write())
    signature = tx.signatures[0]
    expected = cbor2.dumps(["Signature", b"", signature.protected, b"", tx.payload_bytes], canonical=True)
    assert expected == signature_message(tx, signature)
    network.suite.verify_signature(
        public_key=network.keys["bureau"].public_key, message=expected, signature=signature.signature
    )


def test_the_payload_bytes_are_those_received(network):
    """[LEDGER-TX-2]"""
    draft = network.draft()
    tx = network.machine.decode(network.sign(draft))
    assert encode_payload(draft, network=network.parameters.network) == tx.payload_bytes
    assert tx.payload_bytes in tx.raw


@pytest.mark.parametrize("length", [0, 23, 24, 200, 255, 256, 40_000, 59_000])
def test_payloads_of_every_head_length_decode(network, note_body, length):
    body = note_body(id=bytes(16), text="x" * length)
    raw = network.write(body=body)
    assert body == network.machine.decode(raw).body
    assert raw == message(network, raw)


def test_signers_are_put_in_order_of_kid_whatever_the_order_of_signing(network):
    draft = network.draft()
    forwards = network.sign(draft, "bureau", "first-bank", "second-bank")
    tx = network.machine.decode(forwards)
    kids = [signature.key_id for signature in tx.signatures]
    assert sorted(network.keys[name].key_id for name in network.keys) == kids
    assert forwards == assemble_transaction(tx.payload_bytes, signatures=tx.signatures[::-1])


def test_signers_in_different_houses_make_the_same_transaction(intl):
    draft = intl.draft()
    payload = encode_payload(draft, network=intl.parameters.network)
    parts = [sign_payload(payload, suite=intl.suite, key=intl.keys[name]) for name in ("second-bank", "bureau")]
    assert intl.sign(draft, "bureau", "second-bank") == assemble_transaction(payload, signatures=parts)


def test_oversize_is_refused_before_anything_is_read(network):
    """[LEDGER-TX-4]"""
    assert refusal(network, bytes(MAX_TRANSACTION_BYTES + 1)) == "ledger.tx_too_large"
    assert refusal(network, bytes(MAX_TRANSACTION_BYTES)) == "ledger.tx_malformed"


def test_an_oversize_draft_is_refused_when_it_is_signed(network, note_body):
    with pytest.raises(InvalidInput) as caught:
        network.write(body=note_body(id=bytes(16), text="x" * 60_000))
    assert caught.value.code == "ledger.tx_too_large"


def test_no_and_repeated_signers_are_refused_when_signing(network):
    payload = encode_payload(network.draft(), network=network.parameters.network)
    one = sign_payload(payload, suite=network.suite, key=network.keys["bureau"])
    for signatures in ([], [one, one]):
        with pytest.raises(InvalidInput) as caught:
            assemble_transaction(payload, signatures=signatures)
        assert caught.value.code == "ledger.tx_malformed"


def test_the_other_suites_signature_is_named_as_such(network):
    other = get_suite("gm" if network.suite.name == "intl" else "intl")
    key = other.signing_key_from_seed(bytes(32))
    payload = encode_payload(network.draft(), network=network.parameters.network)
    raw = assemble_transaction(payload, signatures=[sign_payload(payload, suite=other, key=key)])
    assert refusal(network, raw) == "ledger.tx_wrong_suite"


def test_a_foreign_network_is_refused(network):
    raw = network.sign(network.draft(), network=bytes(32))
    assert refusal(network, raw) == "ledger.tx_foreign_network"


def test_an_unknown_kind_or_version_is_refused(network):
    assert refusal(network, network.write("note.mint")) == "ledger.kind_unknown"
    assert refusal(network, network.write(version=2)) == "ledger.kind_unknown"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": bytes(16)},
        {"id": bytes(16), "text": "", "number": 0, "more": 1},
        {"id": bytes(15), "text": "", "number": 0},
        {"id": "0" * 16, "text": "", "number": 0},
        {"id": bytes(16), "text": b"", "number": 0},
        {"id": bytes(16), "text": None, "number": 0},
        {"id": bytes(16), "text": "", "number": True},
        {"id": bytes(16), "text": "", "number": -1},
        {"id": bytes(16), "text": "", "number": 2**53 + 1},
        {"id": bytes(16), "text": "", "number": [0]},
    ],
)
def test_a_body_outside_its_schema_is_refused(network, body):
    raw = with_payload(network, network.write(), lambda fields: fields.update(body=body))
    assert refusal(network, raw) == "ledger.body_invalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("id"),
        lambda fields: fields.update(fee=1),
        lambda fields: fields.update(id=bytes(15)),
        lambda fields: fields.update(id="0" * 16),
        lambda fields: fields.update(network=bytes(31)),
        lambda fields: fields.update(kind=7),
        lambda fields: fields.update(version="1"),
        lambda fields: fields.update(version=True),
        lambda fields: fields.update(author="Bureau"),
        lambda fields: fields.update(author="b"),
        lambda fields: fields.update(author="bureau\n"),
        lambda fields: fields.update(author="x" * 33),
        lambda fields: fields.update(author=b"bureau"),
        lambda fields: fields.update(valid_until=-1),
        lambda fields: fields.update(valid_until=2**53),
        lambda fields: fields.update(valid_until=1.5),
        lambda fields: fields.update(body=[]),
        lambda fields: fields.update(body={1: 2}),
        lambda fields: fields.update(body={"number": 1.0}),
        lambda fields: fields.update(body={"x": CBORTag(99, 1)}),
    ],
)
def test_a_payload_of_the_wrong_shape_is_refused(network, change):
    assert refusal(network, with_payload(network, network.write(), change)) == "ledger.tx_malformed"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tag", 97),
        ("protected", b"\xa0"),
        ("protected", b"\xa1\x01\x32"),
        ("unprotected", {4: b"x"}),
        ("payload", None),
        ("payload", b""),
        ("payload", b"\xff"),
        ("signatures", []),
        ("signatures", {}),
        ("signatures", [[b"", {}, bytes(64)]]),
        ("signatures", [1]),
    ],
)
def test_an_envelope_of_the_wrong_shape_is_refused(network, part, value):
    assert refusal(network, message(network, network.write(), **{part: value})) == "ledger.tx_malformed"


def test_signature_headers_other_than_alg_and_kid_are_refused(network):
    raw = network.write()
    ((protected, _, signature),) = cbor2.loads(raw).value[3]
    headers = cbor2.loads(protected)
    for entry in (
        [encode_cbor({**headers, 2: [1]}), {}, signature],
        [encode_cbor({1: headers[1]}), {}, signature],
        [encode_cbor({4: headers[4]}), {}, signature],
        [encode_cbor({**headers, 4: headers[4][:15]}), {}, signature],
        [protected, {4: headers[4]}, signature],
        [protected, {}, signature[:63]],
        [protected, {}, signature, b""],
    ):
        assert refusal(network, message(network, raw, signatures=[entry])) == "ledger.tx_malformed"


def test_every_changed_byte_around_kid_and_signature_is_refused(network):
    """[LEDGER-TX-1]: what is verified is made of the one form, so another form of these bytes must not pass for it."""
    raw = network.write()
    signature = network.machine.decode(raw).signatures[0]
    start = raw.index(cbor2.loads(raw).value[2]) + len(cbor2.loads(raw).value[2])
    kid = raw.index(signature.key_id, start)
    for at in (*range(start, kid), *range(kid + 16, len(raw) - 64)):
        assert refusal(network, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).startswith("ledger.tx_"), at


def test_repeated_and_unordered_signatures_are_refused(network):
    raw = network.sign(network.draft(), "bureau", "first-bank")
    first, second = cbor2.loads(raw).value[3]
    for signatures in ([second, first], [first, first], [first, second, second]):
        assert refusal(network, message(network, raw, signatures=signatures)) == "ledger.tx_malformed"


def test_more_than_sixty_four_signatures_are_refused(intl):
    keys = [intl.suite.signing_key_from_seed(number.to_bytes(32, "big")) for number in range(65)]
    draft = intl.draft()
    assert len(intl.machine.decode(intl.sign(draft, keys=keys[:64])).signatures) == 64
    parts = intl.machine.decode(intl.sign(draft, keys=keys[:64])).signatures
    last = intl.machine.decode(intl.sign(draft, keys=keys[64:])).signatures
    with pytest.raises(InvalidInput):
        assemble_transaction(b"", signatures=parts + last)
    entries = sorted([part.protected, {}, part.signature] for part in parts + last)
    raw = message(intl, intl.write(), signatures=entries)
    assert refusal(intl, raw) == "ledger.tx_malformed"


def test_every_truncation_and_every_appended_byte_is_refused(intl):
    raw = intl.write()
    for end in range(len(raw)):
        assert refusal(intl, raw[:end]) == "ledger.tx_malformed"
    for byte in (b"\x00", b"\xf6", b"\xff"):
        assert refusal(intl, raw + byte) == "ledger.tx_malformed"


def replace_payload(raw, old, new):
    """Return the envelope with a piece of the payload bytes replaced, its length head corrected."""
    protected, unprotected, payload, signatures = cbor2.loads(raw).value
    assert payload.count(old) == 1
    changed = payload.replace(old, new)
    return cbor2.dumps(CBORTag(98, [protected, unprotected, changed, signatures]), canonical=True)


def nest(depth):
    return {"a": nest(depth - 1)} if depth else {}


def test_other_encodings_of_the_same_payload_are_refused(intl):
    """[LEDGER-TX-5]"""
    raw = intl.write()
    cases = {
        "longer head of an integer": (b"gversion\x01", b"gversion\x18\x01"),
        "longer head of a text": (b"gversion\x01", b"\x78\x07version\x01"),
        "longer head of bytes": (b"bidP" + intl.machine.decode(raw).id, b"bid\x58\x10" + intl.machine.decode(raw).id),
        "indefinite text": (b"fauthorfbureau", b"fauthor\x7ffbureau\xff"),
        "bignum for a small number": (b"gversion\x01", b"gversion\xc2\x41\x01"),
        "float for an integer": (b"gversion\x01", b"gversion\xf9\x3c\x00"),
        "shareable mark": (b"gversion\x01", b"gversion\xd8\x1c\x01"),
        "invalid utf-8": (b"fauthorfbureau", b"fauthorf\xffureau"),
        "keys out of order": (b"fauthorfbureaugnetwork", b"gnetworkfauthorfbureau"),
    }
    for name, (old, new) in cases.items():
        assert refusal(intl, replace_payload(raw, old, new)) == "ledger.tx_malformed", name


def test_a_payload_in_another_order_or_with_a_key_twice_is_refused(intl):
    raw = intl.write()
    payload = cbor2.loads(raw).value[2]
    fields = cbor2.loads(payload)
    unsorted_payload = cbor2.dumps(dict(reversed(fields.items())))
    twice = b"\xa8" + payload[1:] + encode_cbor("valid_until") + encode_cbor(fields["valid_until"])
    unsorted_body = cbor2.dumps({**fields, "body": dict(reversed(fields["body"].items()))})
    for changed in (unsorted_payload, twice, unsorted_body, payload + b"\x00"):
        assert refusal(intl, message(intl, raw, payload=changed)) == "ledger.tx_malformed"


def test_deep_nesting_is_refused(intl):
    raw = with_payload(intl, intl.write(), lambda fields: fields.update(body=nest(20)))
    assert refusal(intl, raw) == "ledger.tx_malformed"
    bomb = message(intl, intl.write(), payload=b"\x81" * 50_000)
    assert refusal(intl, bomb) == "ledger.tx_malformed"


def test_decoding_takes_its_rules_as_arguments(intl):
    raw = intl.write()
    tx = decode_transaction(raw, kinds=intl.machine.kinds, network=intl.parameters.network, suite=intl.suite)
    assert intl.machine.decode(raw) == tx


ACTIVE_TAGS = {
    "regular expression": b"\xd8\x23" + b"\x79\xd6\xd8" + b"(a|b)*" * 9166 + b"aaaa",
    "decimal with a huge exponent": b"\xc4\x82\x1a\x3b\x9a\xc9\xff\xc2\x59\x9c\x40" + b"\xff" * 40_000,
    "mail message": b"\xd8\x24\x79\xd6\xd8" + b"A: b\n" * 11_000,
    "date": b"\xc0\x74" + b"2013-03-21T20:04:00Z",
    "set": b"\xd9\x01\x02\x81\x61\x61",
}


@pytest.mark.parametrize("name", ACTIVE_TAGS)
def test_tags_that_would_keep_the_decoder_busy_are_refused_unread(intl, name):
    """[LEDGER-TX-5]"""
    raw = intl.write()
    payload = cbor2.loads(raw).value[2].replace(b"gversion\x01", b"gversion" + ACTIVE_TAGS[name])
    protected, unprotected, _, signatures = cbor2.loads(raw).value
    changed = cbor2.dumps(CBORTag(98, [protected, unprotected, payload, signatures]), canonical=True)
    with pytest.raises(InvalidInput, match="semantic tag") as caught:
        intl.machine.decode(changed)
    assert caught.value.code == "ledger.tx_malformed"
    # The same behind a broken signature list, where the refusal looks for the algorithm that was used.
    assert refusal(intl, b"\xd8\x62\x84\x40\xa0\x40" + ACTIVE_TAGS[name]) == "ledger.tx_malformed"


@pytest.mark.parametrize("author", ["dkind", "x-dkind-y", "bureau-dkindd"])
def test_a_name_that_holds_the_bytes_of_a_field_is_read_like_any_other(network, author):
    """The quick way to a payload's end searches for the bytes of ``kind``: they may stand in a name or a body."""
    raw = network.sign(network.draft(author=author), "bureau")
    assert network.machine.decode(raw).author == author


def test_terms_are_remembered_only_where_they_are_deterministic(network):
    """[LEDGER-TX-5]: what differs after the body by one longer head is refused also when its like was read before."""
    raw = network.write()
    payload = network.machine.decode(raw).payload_bytes
    assert payload.count(b"\x67version\x01") == 1
    for longer in (b"\x67version\x18\x01", b"\x78\x07version\x01", b"\x67version\xc2\x41\x01"):
        changed = payload.replace(b"\x67version\x01", longer)
        part = sign_payload(changed, suite=network.suite, key=network.keys["bureau"])
        for _ in range(2):
            assert refusal(network, assemble_transaction(changed, signatures=[part])) == "ledger.tx_malformed"


@pytest.mark.parametrize("valid_until_ms", [0, 23, 2**32 - 1, 2**32, 2**53 - 1])
def test_times_of_every_length_are_read(network, valid_until_ms):
    raw = network.sign(network.draft(valid_until_ms=valid_until_ms), "bureau")
    assert network.machine.decode(raw).valid_until_ms == valid_until_ms


HEADS = {0: "40", 23: "57", 24: "5818", 255: "58ff", 256: "590100"}


@pytest.mark.parametrize("length", [*HEADS, 59_000])
def test_a_payload_of_any_length_has_the_shortest_head(intl, length):
    """[LEDGER-TX-1]"""
    part = sign_payload(bytes(length), suite=intl.suite, key=intl.keys["bureau"])
    raw = assemble_transaction(bytes(length), signatures=[part])
    entry = [part.protected, {}, part.signature]
    assert cbor2.dumps(CBORTag(98, [b"", {}, bytes(length), [entry]]), canonical=True) == raw
    with pytest.raises(InvalidInput, match="payload"):
        intl.machine.decode(raw)


@pytest.mark.parametrize(("length", "head"), [(0, "5800"), (23, "5817"), (24, "590018"), (255, "5900ff"), (300, "5a")])
def test_a_longer_head_of_the_payload_is_refused(intl, length, head):
    """[LEDGER-TX-5]"""
    raw = intl.write()
    payload = cbor2.loads(raw).value[2]
    after = raw[raw.index(payload) + len(payload) :]
    with pytest.raises(InvalidInput, match="byte 5 does not begin a shortest-form byte string"):
        intl.machine.decode(raw[:5] + bytes.fromhex(head) + bytes(length) + after)


def test_what_ends_with_its_payload_has_no_signatures(intl):
    raw = intl.write()
    payload = cbor2.loads(raw).value[2]
    start = raw.index(payload)
    for end in (start, start + len(payload)):
        with pytest.raises(InvalidInput, match="it ends inside its payload"):
            intl.machine.decode(raw[:end])


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_the_signed_message_has_the_shortest_head_for_any_payload(intl, length):
    """[LEDGER-TX-3]"""
    key = intl.keys["bureau"]
    part = sign_payload(bytes(length), suite=intl.suite, key=key)
    message = cbor2.dumps(["Signature", b"", part.protected, b"", bytes(length)], canonical=True)
    intl.suite.verify_signature(public_key=key.public_key, message=message, signature=part.signature)
