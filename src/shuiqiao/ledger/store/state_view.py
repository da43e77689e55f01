"""The state as rooms read it: decoded values over one snapshot of the index, decoded once while they do not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import Transaction
from shuiqiao.ledger.store.index import Snapshot
from shuiqiao.ledger.store.state_tree import PlannedUpdate, StateTree

MAX_CACHED_VALUES: Final = 32_768
MAX_CACHED_VALUE_BYTES: Final = 2_048
"""Together they bound the cache to about 64 MiB of encoded values."""

MAX_HOT_VALUES: Final = 4_096
"""Values remembered across blocks: members, gates and what is used right now."""


class ValueCache:
    """Decoded values beside the bytes they were decoded from, so that an old entry can never be taken for a new one.

    Shared by all views of a ledger; safe between threads, because one dictionary act is.
    """

    # Not a cache of cachetools: that needs a lock, and an answer then takes nine times as long.

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


class CurrentState:
    """The state after the last executed block, for the one thread that executes and commits.

    Blocks that are stored and not yet in the index stand before the view as the bytes that will be ([STORE-16]).
    Remembers values, and that keys are absent, across blocks: every change passes through ``advance``. What each
    transaction asks for again (gates, members) then costs a dictionary look-up.
    """

    def __init__(self, *, hash_name: str) -> None:
        self._hash_name = hash_name
        # As in ValueCache a plain dictionary: each transaction asks it several times.
        self._values: dict[str, Any] = {}
        self._written: dict[str, bytes | None] = {}
        self._used: dict[bytes, int] = {}
        self._hours: dict[bytes, int | None] = {}
        self._view: SnapshotState | None = None
        self._tree = StateTree(hash_name=hash_name)
        self._base: PlannedUpdate | None = None
        self._plan: PlannedUpdate | None = None

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent. The value is shared: never change it in place."""
        if key in self._values:
            return self._values[key]
        value = self._find(key)
        if len(self._values) >= MAX_HOT_VALUES:
            self._values.clear()
        self._values[key] = value
        return value

    def _find(self, key: str) -> Any:
        if key in self._written:
            data = self._written[key]
            return None if data is None else decode_cbor(data)
        assert self._view is not None
        return self._view.get(key)

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        """Return the hour in which an accepted (author, id) expires, None if it is not remembered."""
        key = replay_id(author, transaction_id)
        if key in self._used:
            return self._used[key]
        if key in self._hours:
            return self._hours[key]
        assert self._view is not None
        return self._view.snapshot.replay_hour(key)

    def look_up(self, transactions: Iterable[Transaction]) -> None:
        """Look the ids of the next block up together; ``expiry_hour`` then answers without asking the index."""
        assert self._view is not None
        keys = [replay_id(transaction.author, transaction.id) for transaction in transactions]
        self._hours = {**dict.fromkeys(keys), **self._view.snapshot.replay_hours(keys)}

    def root_after(self, writes: Mapping[str, bytes | None], *, hash_name: str) -> bytes:
        """Return the root of the state map with these writes taken over; ``planned`` says what that changes in it."""
        assert self._view is not None
        if hash_name != self._hash_name:
            raise ValueError(f"a root by {hash_name} asked of a map by {self._hash_name}")
        self._plan = self._tree.plan(self._view.snapshot, writes, base=self._base)
        return self._plan.root

    @property
    def planned(self) -> PlannedUpdate | None:
        """What the map becomes by the block whose root was asked for last."""
        return self._plan

    def advance(
        self,
        written: Mapping[str, bytes | None],
        used: Iterable[tuple[bytes, int]],
        *,
        plan: PlannedUpdate,
    ) -> None:
        """Go on to the next executed block, which wrote these keys and used these ids."""
        self._base = plan
        self._written.update(written)
        self._used.update(used)
        for key in written:
            self._values.pop(key, None)

    def settle(self, view: SnapshotState) -> None:
        """Read on from a view that holds all blocks so far."""
        self._view = view
        self._base = None
        self._written.clear()
        self._used.clear()
        self._hours.clear()


def replay_id(author: MemberId, transaction_id: bytes) -> bytes:
    """Return the key under which the index remembers an (author, id)."""
    return transaction_id + author.encode()
