"""The state as rooms read it: decoded values over one snapshot of the index, decoded once while they do not change."""

from __future__ import annotations

from typing import Any, Final

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.store.index import Snapshot

MAX_CACHED_VALUES: Final = 32_768
MAX_CACHED_VALUE_BYTES: Final = 2_048
"""Together they bound the cache to about 64 MiB of encoded values."""


class ValueCache:
    """Decoded values beside the bytes they were decoded from, so that an old entry can never be taken for a new one.

    Shared by all views of a ledger; safe between threads, because one dictionary act is.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[bytes, Any]] = {}

    def decode(self, key: str, data: bytes) -> Any:
        """Return the value in encoded bytes of a key."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == data:
            return entry[1]
        value = decode_cbor(data)
        if len(data) <= MAX_CACHED_VALUE_BYTES:
            if len(self._entries) >= MAX_CACHED_VALUES:
                self._entries.clear()
            self._entries[key] = (data, value)
        return value


class SnapshotState:
    """A StateView of one block, unaffected by later ones; also the ReplayIndex of that block.

    Keep it for one act, not for ever: while it lives, the index cannot reuse the space of what has changed since.
    """

    def __init__(self, snapshot: Snapshot, *, cache: ValueCache) -> None:
        self.snapshot = snapshot
        self._cache = cache

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent. The value is shared: never change it in place."""
        data = self.snapshot.state_value(key)
        return None if data is None else self._cache.decode(key, data)

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        """Return the hour in which an accepted (author, id) expires, None if it is not remembered."""
        return self.snapshot.replay_hour(replay_id(author, transaction_id))


def replay_id(author: MemberId, transaction_id: bytes) -> bytes:
    """Return the key under which the index remembers an (author, id)."""
    return transaction_id + author.encode()
