from __future__ import annotations

from typing import Annotated

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.transactions.document import decode_document, sign_document, verify_document

NETWORK = bytes(range(32))
NAME = "test.letter/1"


class Letter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    text: Annotated[str, msgspec.Meta(max_length=100)]
    number: Annotated[int, msgspec.Meta(ge=0, le=9)]


@pytest.fixture(scope="module", params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


def keys_of(suite, count=2):
    return [suite.signing_key_from_seed(bytes([number + 1]) * 32) for number in range(count)]


def signed(suite, keys, *, name=NAME, body=None):
    return sign_document(
        body or Letter(text="hello 你好", number=7), name=name, network=NETWORK, suite=suite, keys=keys
    )


def decoded(raw, suite, *, name=NAME, network=NETWORK, max_bytes=4096):
    return decode_document(raw, Letter, name=name, network=network, suite=suite, max_bytes=max_bytes)


def test_a_document_survives_its_bytes_whatever_the_order_of_its_signers(suite):
    keys = keys_of(suite)
    for order in (keys, keys[::-1]):
        document = decoded(signed(suite, order), suite)
        assert Letter(text="hello 你好", number=7) == document.body
        assert verify_document(document, public_keys=[key.public_key for key in keys], suite=suite) is None
        assert sorted(key.key_id for key in keys) == [signature.key_id for signature in document.signatures]


def test_all_named_signers_and_no_others_must_have_signed(suite):
    first, second = keys_of(suite)
    both, one = decoded(signed(suite, [first, second]), suite), decoded(signed(suite, [first]), suite)
    for document, wanted in ((both, [first]), (one, [first, second]), (one, [second]), (one, [])):
        with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
            verify_document(document, public_keys=[key.public_key for key in wanted], suite=suite)


def test_the_same_signer_twice_is_refused(suite):
    (key,) = keys_of(suite, 1)
    document = decoded(signed(suite, [key, key]), suite)
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        verify_document(document, public_keys=[key.public_key], suite=suite)


def test_a_signature_for_one_document_is_worth_nothing_on_another(suite):
    (key,) = keys_of(suite, 1)
    document = decoded(signed(suite, [key], name="test.cheque/1"), suite)
    with pytest.raises(IntegrityError, match=r"^crypto\.signature_invalid"):
        verify_document(document, public_keys=[key.public_key], suite=suite)


def test_every_changed_byte_is_refused(suite):
    (key,) = keys_of(suite, 1)
    good = signed(suite, [key])
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises((InvalidInput, IntegrityError)):
            verify_document(decoded(bytes(bad), suite), public_keys=[key.public_key], suite=suite)


def test_trailing_and_missing_bytes_are_refused(suite):
    good = signed(suite, keys_of(suite, 1))
    for bad in (good + b"\x00", good[:-1], good[:2], good[: len(good) // 2]):
        with pytest.raises(InvalidInput, match=r"^base\.cbor_"):
            decoded(bad, suite)
    for untagged in (b"", good[:1], good[2:]):
        with pytest.raises(InvalidInput, match=r"^ledger\.document_malformed: not a tagged"):
            decoded(untagged, suite)


def test_a_document_of_another_network_is_refused(suite):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_network_wrong"):
        decoded(signed(suite, keys_of(suite, 1)), suite, network=bytes(32))


def test_a_document_above_its_limit_is_refused_before_it_is_read(suite):
    good = signed(suite, keys_of(suite, 1))
    with pytest.raises(InvalidInput, match=rf"^base\.cbor_too_large.* at most {len(good) - 3} "):
        decoded(good, suite, max_bytes=len(good) - 1)


def test_the_other_suites_signatures_are_not_read(suite):
    other = get_suite("gm" if suite.name == "intl" else "intl")
    with pytest.raises(
        InvalidInput, match=r"^ledger\.document_malformed: signature 1 is of algorithm -\d+, .* is -\d+"
    ):
        decoded(signed(other, keys_of(other, 1)), suite)


def tampered(raw, change):
    message = cbor2.loads(raw)
    protected, unprotected, payload, signatures = message.value
    parts = {
        "protected": protected,
        "unprotected": dict(unprotected),
        "payload": payload,
        "signatures": list(signatures),
    }
    parts |= change
    return encode_cbor(cbor2.CBORTag(parts.pop("tag", 98), list(parts.values())))


GOOD_HEADER = encode_cbor({1: -19, 4: bytes(16)})
GOOD_SIGNER = [GOOD_HEADER, {}, bytes(64)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tag": 97}, "not a tagged COSE_Sign message"),
        ({"protected": b"\xa0"}, "it begins with d8628441a0, .* of its own with d8628440a0"),
        ({"unprotected": {"1": 2}}, "it begins with d8628440a1, .* of its own with d8628440a0"),
        ({"extra": 1}, "it begins with d8628540a0, .* of four parts .* with d8628440a0"),
        ({"payload": "text"}, "byte 5 does not begin a shortest-form byte string"),
        ({"payload": b"", "signatures": {}}, "byte 6 does not begin a shortest-form list"),
        ({"signatures": []}, "it has 0 signatures where 1 to 4 are allowed"),
        ({"signatures": [GOOD_SIGNER] * 5}, "it has 5 signatures where 1 to 4 are allowed"),
        ({"signatures": [GOOD_SIGNER, [b"", {}]]}, r"signature 2 has 2 parts \(bytes, dict\) where .* belongs"),
        ({"signatures": [GOOD_SIGNER, 7]}, "signature 2 is of type int where .* belongs"),
        ({"signatures": [["", {}, bytes(64)]]}, r"signature 1 has 3 parts \(str, dict, bytes\)"),
        ({"signatures": [[b"\xa0", {}, bytes(64)]]}, "signature 1 has the protected header a0, .* algorithm -19 and"),
        (
            {"signatures": [[encode_cbor({1: -19, 4: bytes(16), 5: 1}), {}, bytes(64)]]},
            "signature 1 has the protected header a30132",
        ),
        (
            {"signatures": [[encode_cbor({1: -19, 4: "kid"}), {}, bytes(64)]]},
            "signature 1 has the protected header a20132",
        ),
        ({"signatures": [[GOOD_HEADER, {"4": b""}, bytes(64)]]}, "signature 1 carries unprotected headers"),
        ({"signatures": [[GOOD_HEADER, {}, bytes(63)]]}, "signature 1 has 63 bytes, not 64"),
    ],
)
def test_any_other_form_of_envelope_is_refused_by_what_is_wrong_where(change, says):
    suite = get_suite("intl")
    with pytest.raises(InvalidInput, match=rf"^ledger\.document_malformed: {says}"):
        decoded(tampered(signed(suite, keys_of(suite, 1)), change), suite)


def test_an_envelope_that_is_no_cbor_of_ours_is_refused_as_that():
    suite = get_suite("intl")
    raw = tampered(signed(suite, keys_of(suite, 1)), {"signatures": [[GOOD_HEADER, {4: b""}, bytes(64)]]})
    with pytest.raises(InvalidInput, match=r"^base\.cbor_malformed"):
        decoded(raw, suite)


@pytest.mark.parametrize(
    "payload",
    [
        {"network": NETWORK},
        {"network": NETWORK, "body": {"text": "a", "number": 1}, "kind": "consent.grant"},
        ["network", "body"],
    ],
)
def test_a_payload_with_other_fields_is_refused(payload):
    suite = get_suite("intl")
    raw = tampered(signed(suite, keys_of(suite, 1)), {"payload": encode_cbor(payload)})
    with pytest.raises(InvalidInput, match=r"^ledger\.document_malformed"):
        decoded(raw, suite)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "a"},
        {"text": "a", "number": 10},
        {"text": "a", "number": "1"},
        {"text": "a", "number": 1, "more": 1},
        7,
    ],
)
def test_a_body_outside_its_schema_is_refused(body):
    suite = get_suite("intl")
    raw = tampered(signed(suite, keys_of(suite, 1)), {"payload": encode_cbor({"network": NETWORK, "body": body})})
    with pytest.raises(InvalidInput, match=r"^ledger\.document_body_invalid"):
        decoded(raw, suite)


def test_what_is_signed_is_the_cose_structure_with_the_name_as_external_data():
    """Checked with another library's Ed25519 over a structure built from RFC 9052 section 4.4."""
    suite = get_suite("intl")
    (key,) = keys_of(suite, 1)
    _, _, payload, signatures = cbor2.loads(signed(suite, [key])).value
    protected, _, signature = signatures[0]
    structure = cbor2.dumps(["Signature", b"", protected, b"shuiqiao/document/test.letter/1", payload], canonical=True)
    assert Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, structure) is None
    assert {1: -19, 4: key.key_id} == cbor2.loads(protected)


def test_a_header_with_floats_for_integers_is_another_spelling(suite):
    """[LEDGER-CBOR-1]: -19.0 equals -19, so one signer gave one content two documents, both of which verified."""
    key = keys_of(suite, 1)[0]
    good = signed(suite, [key])
    payload = decoded(good, suite).payload_bytes
    protected = cbor2.dumps({1.0: float(suite.cose_algorithm), 4.0: key.key_id}, canonical=True)
    signature = key.sign(encode_cbor(["Signature", b"", protected, f"shuiqiao/document/{NAME}".encode(), payload]))
    with pytest.raises(InvalidInput, match=r"^ledger\.document_malformed.*protected header"):
        decoded(tampered(good, {"signatures": [[protected, {}, signature]]}), suite)
