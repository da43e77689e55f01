"""Encrypts single columns of a database, so that whoever gets its file or a copy reads no taxpayer and no amount.

    stored        = version u8 = 1 || nonce12 || ciphertext || tag16
    authenticated = version || table || "." || column || 0x00 || the row's key

The cipher is that of the network's suite. Each column has a key of its own, derived from one secret, the data key, and
each value a fresh random nonce; so no value opens in another column or row than its own. A column that rows are found
by has a *tag* beside it: an HMAC of the value under a key of its own, the same for the same value in every table.

Hidden are the values. Not hidden are how many rows there are, how long values are, whether one is missing (NULL), and
which rows have the same tag. LIMIT: an older value of the same cell that somebody puts back opens as well. LIMIT: after
2**32 values of one column under one data key a repeated nonce becomes likely enough to matter.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag

from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.kdf import child_seed
from shuiqiao.crypto.model import SUITE_HASHES, SuiteName
from shuiqiao.crypto.sealing import NONCE_BYTES, SUITE_CIPHERS, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shuiqiao.base.ids import Entropy

VALUE_OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + TAG_BYTES
"""By how much a stored value is longer than what it holds."""

LOOKUP_TAG_BYTES: Final = 32
_VERSION: Final = b"\x01"
_WHOLE_BYTES: Final = 8
_COLUMN_LABEL: Final = "shuiqiao/data/column"
_TAG_LABEL: Final = "shuiqiao/data/tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedColumns:
    """Which columns of a table are encrypted. columns: each with what it holds, str, int (64 bit) or bytes."""

    table: str
    key: str
    """The column that tells one row from another: text or bytes, not encrypted itself."""
    columns: Mapping[str, type]


class ColumnCipher:
    """What encrypts and decrypts the columns of one database.

    ::

        stored = cipher.encrypt_row(COLUMNS, {"consent": "bureau/00ff", "taxpayer": "91440300MA5EXAMPL1"})
        assert cipher.decrypt_row(COLUMNS, stored)["taxpayer"] == "91440300MA5EXAMPL1"

    Safe to share between threads.
    """

    def __init__(self, open_key: Callable[[], bytes], *, suite: SuiteName, entropy: Entropy) -> None:
        """open_key: returns the data key, 32 bytes; asked once, when something is encrypted, decrypted or looked up."""
        self._open_key = open_key
        self._suite: SuiteName = suite
        self._hash_name = SUITE_HASHES[suite]
        self._cipher = SUITE_CIPHERS[suite]
        self._entropy = entropy
        self._keys: dict[str, bytes] = {}

    @cached_property
    def _secret(self) -> bytes:
        return self._open_key()

    @cached_property
    def _tag_key(self) -> bytes:
        return child_seed(self._secret, hash_name=self._hash_name, label=_TAG_LABEL, context=b"")

    @cached_property
    def files(self) -> FileCipher:
        """What encrypts files under the same data key, which is opened once for both."""
        return FileCipher(lambda: self._secret, suite=self._suite, entropy=self._entropy)

    def tag(self, value: str) -> bytes:
        """Return the 32 bytes by which rows with a value are found."""
        return hmac.digest(self._tag_key, value.encode(), self._hash_name)

    def encrypt_row(self, columns: EncryptedColumns, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row, or the part of one that is given with its key, with its secret columns encrypted."""
        return self._row(columns, row, self._encrypt)

    def decrypt_row(self, columns: EncryptedColumns, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row, or a part of one, as it was; raises IntegrityError ``crypto.column_damaged``."""
        return self._row(columns, row, self._decrypt)

    def _row(
        self, columns: EncryptedColumns, row: Mapping[str, Any], act: Callable[[str, bytes, Any, type], Any]
    ) -> dict[str, Any]:
        key = row[columns.key]
        place = key.encode() if isinstance(key, str) else bytes(key)
        done = dict(row)
        for name, form in columns.columns.items():
            if done.get(name) is not None:
                done[name] = act(f"{columns.table}.{name}", place, done[name], form)
        return done

    def _encrypt(self, column: str, place: bytes, value: Any, _form: type) -> bytes:
        nonce, context = self._entropy(NONCE_BYTES), _context(_VERSION, column, place)
        sealed = self._cipher.encrypt(_to_bytes(value), key=self._key(column), nonce=nonce, associated_data=context)
        return _VERSION + nonce + sealed

    def _decrypt(self, column: str, place: bytes, stored: bytes, form: type) -> Any:
        version, nonce, sealed = stored[:1], stored[1 : 1 + NONCE_BYTES], stored[1 + NONCE_BYTES :]
        context = _context(version, column, place)
        try:
            plain = self._cipher.decrypt(sealed, key=self._key(column), nonce=nonce, associated_data=context)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(
                "crypto.column_damaged",
                f"{column} of row {place[:40]!r} does not open: it was changed, put there from elsewhere, or encrypted "
                "under another data key",
            ) from error
        return _from_bytes(plain, form)

    def _key(self, column: str) -> bytes:
        found = self._keys.get(column)
        if found is None:
            whole = child_seed(self._secret, hash_name=self._hash_name, label=_COLUMN_LABEL, context=column.encode())
            found = self._keys[column] = whole[: self._cipher.key_bytes]
        return found


def _context(version: bytes, column: str, place: bytes) -> bytes:
    return version + column.encode() + b"\x00" + place


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value.to_bytes(_WHOLE_BYTES, "big", signed=True) if isinstance(value, int) else bytes(value)


def _from_bytes(plain: bytes, form: type) -> Any:
    if form is str:
        return plain.decode()
    return int.from_bytes(plain, "big", signed=True) if form is int else plain
