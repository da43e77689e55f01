r"""Encrypts the content of a file in chunks, so that any part of it is read without the rest [VAULT-STORE-8].

    encrypted     = head || chunk 0 || chunk 1 || ...
    head          = "SQFILE1\n" || key id 16 || file id 16 || size u64 || length of each chunk u32
    chunk         = ciphertext of (form u8 || bytes) || tag16
    authenticated = head || name || 0x00 || number of the chunk u64

Integers are big-endian. ``size`` is that of the content, of which each chunk holds CHUNK_BYTES, the last one what
remains: as they are (form 0) or, where that is shorter, as a Zstandard frame (form 1). SM4 without instructions of its
own is slow, and what is compressed first has less to encrypt. The cipher is that of the network's suite. Each content
has a key of its own, derived from the data key and a fresh random file id, so the number of a chunk is nonce enough (12
bytes). A chunk opens in its own place of its own file alone, and a file that was cut off or made longer does not open.

Hidden is the content. Not hidden is how long it is, and how well it compresses. LIMIT: an older content of the same
name that somebody puts back opens as well.
"""

from __future__ import annotations

import io
import struct
from functools import cache, cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag

from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.kdf import child_seed
from shuiqiao.crypto.model import SUITE_HASHES, SuiteName
from shuiqiao.crypto.sealing import NONCE_BYTES, SUITE_CIPHERS, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shuiqiao.base.ids import Entropy

FILE_MAGIC: Final = b"SQFILE1\n"
KEY_ID_BYTES: Final = 16
CHUNK_BYTES: Final = 1 << 15
"""A taxpayer's part of a batch lies in one or two of these; larger ones would be opened for less of what they hold."""

MAX_CONTENT_BYTES: Final = 1 << 40
"""Longest content that a head may announce: the table of its chunks has 128 MiB."""

_ID_BYTES: Final = 16
_NUMBER_BYTES: Final = 8
_LENGTH: Final = struct.Struct(">I")
_HEAD_BYTES: Final = len(FILE_MAGIC) + KEY_ID_BYTES + _ID_BYTES + _NUMBER_BYTES
_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_FILE_LABEL: Final = "shuiqiao/data/file"
_KEY_ID_LABEL: Final = "shuiqiao/data/id"


class FileCipher:
    """What encrypts and decrypts the files of one home.

    ::

        parts = cipher.encrypt([b"head", body], name="00ff.leaves")
        assert cipher.open(b"".join(parts), name="00ff.leaves").read(0, 4) == b"head"

    Safe to share between threads.
    """

    def __init__(self, open_key: Callable[[], bytes], *, suite: SuiteName, entropy: Entropy) -> None:
        """open_key: returns the data key, 32 bytes; asked once, when something is encrypted or decrypted."""
        self._open_key = open_key
        self._hash_name = SUITE_HASHES[suite]
        self._cipher = SUITE_CIPHERS[suite]
        self._entropy = entropy
        self._suite: SuiteName = suite

    @cached_property
    def _secret(self) -> bytes:
        return self._open_key()

    @cached_property
    def key_id(self) -> bytes:
        """What tells the data key from another; raises what opening the key raises."""
        return data_key_id(self._secret, suite=self._suite)

    def encrypt(self, parts: Iterable[Any], *, name: str) -> list[bytes]:
        """Return a content, given as parts that have buffers of bytes, as parts to be written one after the other."""
        content = memoryview(b"".join(parts))
        file_id = self._entropy(_ID_BYTES)
        chunks = [_packed(content[at : at + CHUNK_BYTES]) for at in range(0, len(content), CHUNK_BYTES)]
        lengths = b"".join(_LENGTH.pack(len(chunk) + TAG_BYTES) for chunk in chunks)
        head = FILE_MAGIC + self.key_id + file_id + len(content).to_bytes(_NUMBER_BYTES, "big") + lengths
        key, context = self._key(file_id), head + name.encode() + b"\x00"
        encrypted = (
            self._cipher.encrypt(chunk, key=key, nonce=_nonce(number), associated_data=_context(context, number))
            for number, chunk in enumerate(chunks)
        )
        return [head, b"".join(encrypted)]

    def open(self, encrypted: Any, *, name: str, start: int = 0) -> EncryptedContent:
        """Return the content that begins at a place of a buffer and goes to its end; it is decrypted where it is read.

        Raises IntegrityError ``crypto.file_damaged``, ``crypto.file_key_foreign``, and what opening the key raises.
        """
        fixed = bytes(encrypted[start : start + _HEAD_BYTES])
        size = int.from_bytes(fixed[-_NUMBER_BYTES:], "big")
        if len(fixed) != _HEAD_BYTES or not fixed.startswith(FILE_MAGIC) or size > MAX_CONTENT_BYTES:
            raise _damaged(name, "does not begin as an encrypted file")
        at = start + _HEAD_BYTES + -(-size // CHUNK_BYTES) * _LENGTH.size
        head = fixed + bytes(encrypted[start + _HEAD_BYTES : at])
        if start + len(head) != at:
            raise _damaged(name, "ends in its head")
        ends = list(accumulate((length for (length,) in _LENGTH.iter_unpack(head[_HEAD_BYTES:])), initial=at))
        if ends[-1] != len(encrypted):
            raise _damaged(name, f"has {len(encrypted)} bytes where its head announces {ends[-1]}")
        key_id = head[len(FILE_MAGIC) : len(FILE_MAGIC) + KEY_ID_BYTES]
        if key_id != self.key_id:
            raise IntegrityError(
                "crypto.file_key_foreign",
                f"{name} is encrypted under data key {key_id.hex()}, this home's is {self.key_id.hex()}",
            )
        key = self._key(fixed[len(FILE_MAGIC) + KEY_ID_BYTES : -_NUMBER_BYTES])
        context = head + name.encode() + b"\x00"

        def decrypt(number: int) -> bytes:
            chunk, place = bytes(encrypted[ends[number] : ends[number + 1]]), number * CHUNK_BYTES
            try:
                packed = self._cipher.decrypt(
                    chunk, key=key, nonce=_nonce(number), associated_data=_context(context, number)
                )
            except (InvalidTag, ValueError) as error:
                raise _damaged(name, f"does not open at byte {place}: it was changed") from error
            return _unpacked(packed, size=min(CHUNK_BYTES, size - place))

        return EncryptedContent(decrypt, size=size)

    def _key(self, file_id: bytes) -> bytes:
        whole = child_seed(self._secret, hash_name=self._hash_name, label=_FILE_LABEL, context=file_id)
        return whole[: self._cipher.key_bytes]


class EncryptedContent:
    """The content of an encrypted file, which stays encrypted but for what is read of it."""

    def __init__(self, decrypt: Callable[[int], bytes], *, size: int) -> None:
        """decrypt: returns a chunk by its number."""
        self.chunk = decrypt
        self.size = size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range that lies within the content; raises IntegrityError ``crypto.file_damaged``."""
        return next(self.parts([(start, stop)]))

    def parts(
        self, ranges: Iterable[tuple[int, int]], *, keep: Callable[[int, Callable[[int], bytes]], bytes] | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of ranges, in their order, each chunk decrypted once.

        keep: returns a chunk by its number, from where it is kept or by what is given to it.
        """
        opened: dict[int, bytes] = {}

        def chunk(number: int) -> bytes:
            if number not in opened:
                opened[number] = self.chunk(number) if keep is None else keep(number, self.chunk)
            return opened[number]

        for start, stop in ranges:
            first, at = divmod(start, CHUNK_BYTES)
            if stop <= start:
                yield b""
            elif stop <= (first + 1) * CHUNK_BYTES:
                yield chunk(first)[at : at + stop - start]
            else:
                last = (stop - 1) // CHUNK_BYTES
                yield b"".join(chunk(number) for number in range(first, last + 1))[at : at + stop - start]


class ContentFile(io.RawIOBase):
    """The content of an encrypted file as a file to read, for a library that reads here and there in it."""

    def __init__(self, content: EncryptedContent) -> None:
        super().__init__()
        self._content = content
        self._at = 0
        self._chunks: dict[int, bytes] = {}

    def _keep(self, number: int, decrypt: Callable[[int], bytes]) -> bytes:
        if number not in self._chunks:
            self._chunks[number] = decrypt(number)
        return self._chunks[number]

    def readable(self) -> bool:
        """See io."""
        return True

    def seekable(self) -> bool:
        """See io."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io."""
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}
        self._at = max(0, starts[whence] + offset)
        return self._at

    def tell(self) -> int:
        """See io."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """See io; raises what ``EncryptedContent.read`` raises."""
        start, end = min(self._at, self._content.size), self._content.size
        self._at = end if size < 0 else min(end, start + size)
        return next(self._content.parts([(start, self._at)], keep=self._keep))


def data_key_id(seed: bytes, *, suite: SuiteName) -> bytes:
    """Return 16 bytes that tell one data key from another and reveal nothing of it."""
    return child_seed(seed, hash_name=SUITE_HASHES[suite], label=_KEY_ID_LABEL, context=b"")[:KEY_ID_BYTES]


@cache
def _codec() -> Any:
    # The library takes longer to load than most commands that read no batch.
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)


def _packed(content: memoryview) -> bytes:
    """Return a chunk as it is encrypted: with its form, compressed where that makes it shorter."""
    compressed: bytes = _codec().compress(content, asbytes=True)
    return _COMPRESSED + compressed if len(compressed) < len(content) else _PLAIN + bytes(content)


def _unpacked(packed: bytes, *, size: int) -> bytes:
    """Return the content of a chunk that was decrypted: so it was written here, and is what it says."""
    if packed[:1] == _PLAIN:
        return packed[1:]
    content: bytes = _codec().decompress(packed[1:], decompressed_size=size, asbytes=True)
    return content


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _context(context: bytes, number: int) -> bytes:
    return context + number.to_bytes(_NUMBER_BYTES, "big")


def _damaged(name: str, what: str) -> IntegrityError:
    return IntegrityError("crypto.file_damaged", f"{name} {what}")
