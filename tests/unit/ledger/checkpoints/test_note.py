"""[LEDGER-NOTE-1] to [LEDGER-NOTE-3]: the checkpoint is a C2SP signed note in one spelling only."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import partial

import pytest

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.crypto import intl as intl_provider
from shuiqiao.ledger.checkpoints.note import (
    add_cosignatures,
    note_key_hash,
    sign_checkpoint,
    verify_log_signature,
    verify_note,
)
from shuiqiao.ledger.checkpoints.signed_note import MAX_LINE_BYTES, SignatureLine, decode_line, encode_line, encode_text
from shuiqiao.ledger.log.tree import MAX_TREE_SIZE

ROOT = bytes(range(100, 132))


def checkpoint_of(network, **changes):
    fields = {"origin": network.parameters.origin, "size": 20_852_163, "root": ROOT, "key": network.keys["bureau"]}
    return sign_checkpoint(**{**fields, **changes}, suite=network.suite)


def verify(network, note):
    return verify_note(note, policy=network.parameters.policy, suite=network.suite)


def refusal(network, note):
    with pytest.raises(IntegrityError) as caught:
        verify(network, note)
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 20_852_163, MAX_TREE_SIZE])
def test_what_was_signed_is_verified(network, size):
    """[LEDGER-NOTE-1]"""
    checkpoint = checkpoint_of(network, size=size)
    assert checkpoint == verify(network, checkpoint.note)
    origin, size_line, root, blank, signature, end = checkpoint.note.decode().split("\n")
    assert [network.parameters.origin, str(size), base64.b64encode(ROOT).decode(), "", ""] == [
        origin,
        size_line,
        root,
        blank,
        end,
    ]
    assert signature.startswith(f"— {network.parameters.origin} ")


def test_key_hashes_follow_the_signed_note_rule(network):
    """[LEDGER-NOTE-3]"""
    key = network.parameters.operator_key
    sequences = {
        "intl": b"name\n\x01" + key,
        "gm": b"name\n\xffshuiqiao/sm2-sm3-v1" + key,
    }
    expected = hashlib.new(network.suite.hash_name, sequences[str(network.suite.name)]).digest()[:4]
    assert expected == note_key_hash("name", public_key=key, suite=network.suite)


def test_every_changed_byte_is_refused(network):
    """[LEDGER-NOTE-2]"""
    note = checkpoint_of(network).note
    for at in range(len(note)):
        for flip in (0x01, 0x20, 0x80):
            assert refusal(network, note[:at] + bytes([note[at] ^ flip]) + note[at + 1 :]).startswith(
                "ledger.checkpoint_"
            )


def test_another_origin_and_another_key_are_foreign(network):
    assert refusal(network, checkpoint_of(network, origin="shuiqiao/other").note) == "ledger.checkpoint_foreign"
    assert refusal(network, checkpoint_of(network, key=network.keys["first-bank"]).note) == "ledger.checkpoint_foreign"
    named = checkpoint_of(network).note.replace(b"\xe2\x80\x94 shuiqiao/", b"\xe2\x80\x94 shuiqia0/")
    assert refusal(network, named) == "ledger.checkpoint_foreign"


def test_a_signature_over_another_text_does_not_hold(network):
    other = checkpoint_of(network, size=5).note
    note = checkpoint_of(network).note
    mixed = note[: note.index(b"\xe2")] + other[other.index(b"\xe2") :]
    assert refusal(network, mixed) == "ledger.checkpoint_signature_invalid"


def respelled(note):
    """Return the note in other spellings that a lenient reader would take for the same statement."""
    text, signature = note.decode().split("\n\n")
    origin, size, root = text.split("\n")
    blob = base64.b64decode(signature.rstrip("\n").split(" ")[2])
    return {
        "no newline at the end": note[:-1],
        "two newlines at the end": note + b"\n",
        "carriage returns": note.replace(b"\n", b"\r\n"),
        "an extension line": f"{text}\nextension\n\n{signature}".encode(),
        "an empty extension line": f"{text}\n\n\n{signature}".encode(),
        "the signature twice": note + signature.encode(),
        "an unknown signature": note + b"\xe2\x80\x94 someone " + base64.b64encode(bytes(68)) + b"\n",
        "no signature": f"{text}\n\n".encode(),
        "no blank line": f"{text}\n{signature}".encode(),
        "lines in another order": f"{size}\n{origin}\n{root}\n\n{signature}".encode(),
        "a leading zero": note.replace(size.encode(), b"0" + size.encode(), 1),
        "a plus sign": note.replace(size.encode(), b"+" + size.encode(), 1),
        "an underscore in the size": note.replace(b"\n20852163\n", b"\n20_852163\n"),
        "digits of another script": note.replace(b"\n20852163\n", "\n２０８５２１６３\n".encode()),
        "a size too large": note.replace(b"\n20852163\n", b"\n9007199254740992\n"),
        "a huge size": note.replace(b"\n20852163\n", b"\n" + b"9" * 3000 + b"\n"),
        "no padding": note.replace(root.encode(), root.rstrip("=").encode()),
        "spare bits in the root": note.replace(root.encode(), (root[:-2] + chr(ord(root[-2]) + 1) + "=").encode()),
        "url alphabet": note.replace(root.encode(), base64.urlsafe_b64encode(b"\xff" * 32)),
        "a short root": note.replace(root.encode(), base64.b64encode(ROOT[:31])),
        "a hyphen for the dash": note.replace("—".encode(), b"-"),
        "two spaces": note.replace("— ".encode(), "—  ".encode()),
        "a short signature": note.replace(base64.b64encode(blob), base64.b64encode(blob[:-1])),
        "a long signature": note.replace(base64.b64encode(blob), base64.b64encode(blob + b"\x00")),
        "a byte order mark": b"\xef\xbb\xbf" + note,
        "not utf-8": b"\xff" + note,
        "empty": b"",
        "too long": note + b"x" * 5000,
    }


def test_every_other_spelling_is_refused(network):
    """[LEDGER-NOTE-2]"""
    note = checkpoint_of(network).note
    for name, changed in respelled(note).items():
        assert note != changed, name
        assert refusal(network, changed) in {
            "ledger.checkpoint_malformed",
            "ledger.checkpoint_foreign",
            "ledger.cosigner_unknown",
        }, name


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": ""},
        {"origin": "two words"},
        {"origin": "a+b"},
        {"origin": "a\nb"},
        {"origin": "a\u3000b"},
        {"size": -1},
        {"size": MAX_TREE_SIZE + 1},
        {"root": b""},
    ],
)
def test_what_cannot_be_a_checkpoint_is_not_signed(intl, changes):
    with pytest.raises(ValueError):
        checkpoint_of(intl, **changes)


def foreign_text_under_our_name(network):
    """The operator's own signature, under this log's name, over the text of another log."""
    text = encode_text(origin="shuiqiao/other", size=5, root=ROOT)
    key = network.keys["bureau"]
    key_hash = note_key_hash(network.parameters.origin, public_key=key.public_key, suite=network.suite)
    line = SignatureLine(name=network.parameters.origin, key_hash=key_hash, signature=key.sign(text))
    return text + b"\n" + encode_line(line)


@pytest.mark.parametrize("verify_with", [verify_note, verify_log_signature, partial(add_cosignatures, lines=[])])
def test_the_text_is_of_this_log_whoever_signed_it(network, verify_with):
    """[LEDGER-NOTE-2]"""
    with pytest.raises(IntegrityError, match="the checkpoint is of 'shuiqiao/other'") as raised:
        verify_with(foreign_text_under_our_name(network), policy=network.parameters.policy, suite=network.suite)
    assert raised.value.code == "ledger.checkpoint_foreign"


def test_a_line_has_512_bytes_at_most():
    """[LEDGER-NOTE-2]"""
    line = SignatureLine(name="n", key_hash=bytes(4), signature=bytes(64))
    room = MAX_LINE_BYTES - len(encode_line(line))
    longest = replace(line, name="n" * (1 + room))
    assert decode_line(encode_line(longest)) == longest
    with pytest.raises(IntegrityError, match="a signature line has 513 bytes where 512 are allowed"):
        decode_line(encode_line(replace(line, name="n" * (2 + room))))


def test_a_provider_that_fails_judges_no_note(intl, monkeypatch):  # [LEDGER-SIGN-4]
    note = checkpoint_of(intl).note

    def fail(*_arguments):
        raise RuntimeError("no")

    monkeypatch.setattr(intl_provider, "crypto_sign_open", fail)
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        verify(intl, note)
