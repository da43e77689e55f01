"""A whole state in memory, with its map: for replaying a ledger from its genesis, and as the plainest of states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.ledger.state.state_map import StateMap, StateProof


class MemoryState:
    """The state after one block. Its map is made when a root is first asked for."""

    def __init__(self, encoded: Mapping[str, bytes]) -> None:
        self._encoded = dict(encoded)
        self._map: StateMap | None = None
        self._ahead: Mapping[str, bytes | None] = {}
        """Writes that the map holds already and the state does not."""

    def get(self, key: str) -> Any:
        """Return the value of a key, or None if absent."""
        data = self._encoded.get(key)
        return None if data is None else decode_cbor(data)

    def encoded_value(self, key: str) -> bytes | None:
        """Return the encoded value of a key, or None if absent."""
        return self._encoded.get(key)

    def root_after(self, writes: Mapping[str, bytes | None], *, hash_name: str) -> bytes:
        """Return the root of the state map with these writes taken over; ``write`` then takes them over."""
        state_map = self._map or StateMap(self._encoded, hash_name=hash_name)
        self._map = state_map
        self._go_back()
        state_map.update(writes)
        self._ahead = dict(writes)
        return state_map.root()

    def write(self, writes: Mapping[str, bytes | None]) -> None:
        """Take over the writes of an executed block."""
        if self._ahead != writes:
            self._go_back()
            if self._map is not None:
                self._map.update(writes)
        self._ahead = {}
        for key, data in writes.items():
            if data is None:
                self._encoded.pop(key, None)
            else:
                self._encoded[key] = data

    def encoded(self) -> dict[str, bytes]:
        """Return every key with its encoded value."""
        return dict(self._encoded)

    def prove(self, key: str, *, hash_name: str) -> StateProof:
        """Return the proof of what the state holds at a key, which may be nothing."""
        self.root_after({}, hash_name=hash_name)
        assert self._map is not None
        return self._map.prove(key)

    def _go_back(self) -> None:
        """Take writes out of the map that no block followed."""
        if self._map is not None and self._ahead:
            self._map.update({key: self._encoded.get(key) for key in self._ahead})
        self._ahead = {}
