"""Encrypted files: any part is read alone, and opens in its own place of its own file under its own key alone."""

from __future__ import annotations

import hashlib
import io
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.file_cipher import CHUNK_BYTES, FILE_MAGIC, ContentFile, FileCipher
from shuiqiao.crypto.model import SuiteName

SECRET = b"91440300MA5EXAMPL1"
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 77)


def cipher_of(suite=SuiteName.INTL, seed=bytes(range(32)), entropy=system_entropy):
    return FileCipher(lambda: seed, suite=suite, entropy=entropy)


def content_of(size):
    return (SECRET * (size // len(SECRET) + 1))[:size]


@pytest.mark.parametrize("suite", SuiteName)
@pytest.mark.parametrize("size", SIZES)
def test_what_was_encrypted_comes_back_and_is_not_seen_in_between(suite, size):
    cipher, content = cipher_of(suite), content_of(size)
    stored = b"".join(cipher.encrypt([content[:10], content[10:]], name="a"))
    assert SECRET[:8] not in stored
    opened = cipher.open(b"before" + stored, name="a", start=6)
    assert (size, content) == (opened.size, opened.read(0, size))


@given(bounds=st.lists(st.tuples(st.integers(0, 3 * CHUNK_BYTES), st.integers(0, 2 * CHUNK_BYTES)), max_size=6))
def test_any_ranges_are_read_as_they_are_of_the_content(bounds):
    cipher, content = cipher_of(), content_of(3 * CHUNK_BYTES + 5)
    ranges = [(start, min(start + length, len(content))) for start, length in bounds]
    opened = cipher.open(b"".join(cipher.encrypt([content], name="a")), name="a")
    assert [content[start:stop] for start, stop in ranges] == list(opened.parts(ranges))


def test_each_chunk_is_decrypted_once_and_what_is_kept_is_not_decrypted_again():
    cipher, content = cipher_of(), content_of(3 * CHUNK_BYTES)
    opened = cipher.open(b"".join(cipher.encrypt([content], name="a")), name="a")
    read, kept = list[int](), dict[int, bytes]()

    def keep(number, decrypt):
        if number not in kept:
            read.append(number)
            kept[number] = decrypt(number)
        return kept[number]

    ranges = [(0, 5), (3, CHUNK_BYTES + 2), (5, 9)]
    for _ in range(2):
        assert [content[start:stop] for start, stop in ranges] == list(opened.parts(ranges, keep=keep))
    assert [0, 1] == read


def random_content(size):
    return hashlib.shake_128(b"content").digest(size)


@pytest.mark.parametrize("suite", SuiteName)
@pytest.mark.parametrize("make", [content_of, random_content], ids=["compressed", "plain"])
def test_any_changed_byte_a_missing_chunk_and_chunks_in_another_order_are_refused(suite, make):
    cipher, content = cipher_of(suite), make(2 * CHUNK_BYTES + 9)
    head, chunks = cipher.encrypt([content], name="a")
    stored = head + chunks
    first, second, _ = struct.unpack(">3I", head[-12:])
    broken = [stored[:-1], stored + b"\x00", b"", stored[:30], stored[: len(head) - 4]]
    broken += [head[:-12] + struct.pack(">3I", second, first, len(chunks) - first - second) + chunks] * (
        first != second
    )
    broken.append(head + chunks[first : first + second] + chunks[:first] + chunks[first + second :])
    broken.append(head[:-20] + CHUNK_BYTES.to_bytes(8, "big") + head[-12:-8] + chunks[:first])
    broken.append(head[:-20] + (1 << 62).to_bytes(8, "big") + head[-12:] + chunks)
    places = random.Random(3).sample(range(len(stored)), 150)
    broken += [stored[:at] + bytes([stored[at] ^ (1 << at % 8)]) + stored[at + 1 :] for at in (0, *places)]
    for changed in broken:
        with pytest.raises(IntegrityError, match=r"^crypto\.file_(damaged|key_foreign)"):
            cipher.open(changed, name="a").read(0, len(content))


def test_a_file_to_read_gives_what_a_file_of_the_content_gives():
    content = random_content(2 * CHUNK_BYTES + 9)
    cipher = cipher_of()
    opened = cipher.open(b"".join(cipher.encrypt([content], name="a")), name="a")
    with ContentFile(opened) as file, io.BytesIO(content) as plain:
        for offset, whence, size in (
            (5, 0, 9),
            (-8, 2, 20),
            (-3, 1, 1),
            (CHUNK_BYTES - 1, 0, 2),
            (0, 2, 4),
            (7, 0, -1),
        ):
            assert plain.seek(offset, whence) == file.seek(offset, whence)
            assert (plain.read(size), plain.tell()) == (file.read(size), file.tell())


def test_a_content_does_not_open_under_another_name_nor_another_key():
    cipher = cipher_of()
    stored = b"".join(cipher.encrypt([SECRET], name="a.leaves"))
    with pytest.raises(IntegrityError, match=r"^crypto\.file_damaged"):
        cipher.open(stored, name="b.leaves").read(0, 1)
    with pytest.raises(IntegrityError, match=r"^crypto\.file_key_foreign"):
        cipher_of(seed=bytes(32)).open(stored, name="a.leaves")


@pytest.mark.parametrize("suite", SuiteName)
def test_the_same_content_is_encrypted_otherwise_each_time(suite):
    cipher = cipher_of(suite)
    first, second = (b"".join(cipher.encrypt([SECRET], name="a")) for _ in range(2))
    assert first.startswith(FILE_MAGIC)
    assert first[-len(SECRET) :] != second[-len(SECRET) :]


FORM = {
    SuiteName.INTL: "535146494c45310a2db560f3347e8bcdaa0c6d7ec62d1b4305050505050505050505050505050505"
    "000000000000001200000023ec68c8b925e8f40f863a6258102cf98c9062925b735b7a21652e53f8075b48827ebda5",
    SuiteName.GM: "535146494c45310a9f8523020587ac6f612eee2f2657e8a605050505050505050505050505050505"
    "000000000000001200000023d67e1011fa3c602bc80f850f9b17f400a30345ef9cdf320a7053d0bf7a361618c3fd1a",
}


@pytest.mark.parametrize("suite", SuiteName)
def test_the_form_of_a_file_stays_what_it_is(suite):
    """A file of this release opens in every later one [VAULT-STORE-8]."""
    stored = b"".join(cipher_of(suite, entropy=lambda count: b"\x05" * count).encrypt([SECRET], name="a"))
    assert FORM[suite] == stored.hex()
