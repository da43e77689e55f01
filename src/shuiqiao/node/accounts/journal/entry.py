"""One entry of the journal: who did what to which object when, and how it ended; its one form in bytes.

    entry = deterministic CBOR {"act", "kind", "ms", "object", "outcome", "previous", "request", "salt", "seq", "who"}
    hash  = the leaf hash of the entry (RFC 6962, suite hash)

"previous" is the hash of the entry before, zeros for the first.

An object is named by its id and never by what is in it. The random salt keeps the root of a day, which the ledger
shows to every member, from being guessed at [MEMBER-30].
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.wire import Digest, Id, TimeMs
from shuiqiao.ledger.log.tree import HASH_BYTES, leaf_hash

MAX_ENTRY_BYTES: Final = 1024
FIRST_PREVIOUS: Final = bytes(HASH_BYTES)

_Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@:/._ -]{1,80}\Z", max_length=80)]
_Words = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@:/._ -]{0,160}\Z", max_length=160)]


class JournalEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One act of one person."""

    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    """Its number, from 1, without gaps."""
    ms: TimeMs
    """When; never before that of the entry before."""
    kind: _Word
    """What the caller is: user, machine, enterprise, owner."""
    who: _Word
    """The caller's id, which never changes."""
    act: _Word
    """What was done, e.g. ``records.read``."""
    object: _Words
    """The id of what it was done to, or empty."""
    outcome: _Word
    """``done``, or the code of the error that refused it."""
    request: _Words
    """The id of the request that it was part of, or empty."""
    previous: Digest
    salt: Id

    @property
    def day(self) -> int:
        """The day, in days since 1970-01-01 UTC."""
        return self.ms // MS_PER_DAY


def encode_entry(entry: JournalEntry) -> bytes:
    """Return an entry's bytes; raises InvalidInput ``node.journal_entry_invalid`` for what no entry may hold."""
    fields = msgspec.to_builtins(entry, builtin_types=(bytes,))
    try:
        typed(fields, JournalEntry, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("node.journal_entry_invalid", f"an entry of the journal is not allowed: {error}") from error
    return encode_cbor(fields)


def decode_entry(raw: bytes) -> JournalEntry:
    """Return the entry in stored bytes; raises IntegrityError ``node.journal_broken``."""
    try:
        fields = decode_cbor_strict(raw, max_bytes=MAX_ENTRY_BYTES)
        return typed(fields, JournalEntry, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise IntegrityError("node.journal_broken", f"an entry of the journal cannot be read: {error}") from error


def entry_hash(raw: bytes, *, hash_name: str) -> bytes:
    """Return the hash by which the next entry and the root of the day name this one."""
    return leaf_hash(raw, hash_name=hash_name)
