"""The state while a block is executed: reads go through to a base, writes are collected as bytes.

It decides who may write where: a contract under its own room only, the ledger under its own keys [LEDGER-STATE-1].
Values are encoded when they are put and decoded when they are read back, so what a contract reads in the block that
wrote it is exactly what it reads after a restart [LEDGER-STATE-2]. It stores nothing: ``ledger/store`` takes
``writes`` and makes them durable.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import cbor2

from shuiqiao.base.encoding import cbor_key_rank, decode_cbor, encode_cbor
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.ledger.model import StateView
from shuiqiao.ledger.transactions.kinds import MAX_BLOCK_WORK

if TYPE_CHECKING:
    from shuiqiao.ledger.model import NetworkParameters

VALUE_BYTES_A_UNIT = 1024
"""A value so long that it is written counts as one key more."""

MAX_KEY_BYTES = 255
"""Longest state key, in bytes: below the key limit of the store (LMDB: 511)."""

Writes = dict[str, bytes | None]
"""Encoded values by key; None removes the key."""

_SCALARS = frozenset({int, str, bytes, bool, type(None)})


_UNREAD = object()


def encode_value(value: Any) -> bytes:
    """Return the deterministic CBOR of a state value: what ``encode_cbor`` returns.

    Most values are maps of the same few sets of names: their order is found once, and sorting in the encoder, which
    takes twice as long as all the rest of it, is left out.
    """
    if type(value) is not dict or not _SCALARS.issuperset(map(type, value.values())):
        return encode_cbor(value)
    names = tuple(value)
    order = _deterministic_order(names)
    if order is None:
        return encode_cbor(value)
    return cbor2.dumps(value if order == names else {name: value[name] for name in order})


@lru_cache(maxsize=256)
def _deterministic_order(names: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return map keys in deterministic order, None unless all are plain text."""
    return tuple(sorted(names, key=cbor_key_rank)) if all(type(name) is str for name in names) else None


def genesis_writes(parameters: NetworkParameters) -> dict[str, bytes]:
    """Return the encoded state before block 1."""
    return {key: encode_cbor(value) for key, value in parameters.initial_state.items()}


class BaseState(StateView, Protocol):
    """The state after one block, on which the next is executed."""

    def root_after(self, writes: Mapping[str, bytes | None], *, hash_name: str) -> bytes:
        """Return the root of the state map with these encoded writes taken over (None removes a key)."""
        ...


class OverlayState:
    """A State over a base, with one open transaction at a time.

    The machine opens a room, lets the contract write, then keeps or drops those writes. Outside an open room ``put``
    and ``delete`` are refused, so that a check cannot write.
    """

    def __init__(self, base: BaseState) -> None:
        self._base = base
        self._writes: Writes = {}
        self._pending: Writes = {}
        self._read: dict[str, Any] = {}
        """What was read of keys that the open transaction did not write."""
        self._room = ""
        self._fault: Exception | None = None
        self._is_counted = False
        self.work = 0
        """Units of work that the last transaction made: keys read and written [LEDGER-WORK-2]."""

    @property
    def writes(self) -> Mapping[str, bytes | None]:
        """The encoded writes kept so far."""
        return self._writes

    def root(self, *, hash_name: str) -> bytes:
        """Return the root of the state map after the writes kept so far; raises what ``get`` raises for the store."""
        try:
            return self._base.root_after(self._writes, hash_name=hash_name)
        except Exception as error:
            raise self._failed(error) from error

    def get(self, key: str) -> Any:
        """Return the value of a key, or None if absent; raises ValueError for what cannot be a key.

        Raises InvalidInput ``ledger.work_exceeded``, as ``put`` and ``delete`` do, and, where the store failed,
        Unavailable ``ledger.state_unreadable``.
        """
        self._spend(1)
        value = self._read.get(key, _UNREAD)
        if value is not _UNREAD:
            # Gates and members are asked for by every transaction.
            return value
        if key in self._pending:
            # Not remembered, for it may be dropped again.
            return self._stored(key, self._pending)
        value = self._stored(key, self._writes)
        self._read[key] = value
        return value

    def _stored(self, key: str, writes: Writes) -> Any:
        """Return the value of a key in these writes, of any other in the base."""
        _require_key(key)
        try:
            return _decode_value(writes[key]) if key in writes else self._base.get(key)
        except Exception as error:
            # What cannot be read, or decoded though it was encoded here, is this machine's trouble, not the
            # transaction's: it must never turn into a refusal, or nodes would part. The machine asks for it after
            # each transaction.
            raise self._failed(error) from error

    def put(self, key: str, value: Any) -> None:
        """Set a key of the open room; raises ValueError for any other key."""
        self._require_writable(key)
        data = encode_value(value)
        self._spend(1 + len(data) // VALUE_BYTES_A_UNIT)
        self._pending[key] = data
        self._read.pop(key, None)

    def delete(self, key: str) -> None:
        """Remove a key of the open room; raises ValueError for any other key."""
        self._require_writable(key)
        self._spend(1)
        self._pending[key] = None
        self._read.pop(key, None)

    def begin(self) -> None:
        """Begin a transaction: its work is counted until it is kept or dropped."""
        self.work = 0
        self._is_counted = True

    def open_room(self, room: str) -> None:
        """Let the open transaction write under a room."""
        self._room = f"{room}/"

    def keep(self) -> None:
        """End the transaction and keep what it wrote."""
        self._writes.update(self._pending)
        self.drop()

    def drop(self) -> None:
        """End the transaction and forget what it wrote."""
        self._pending.clear()
        self._room = ""
        self._is_counted = False

    def require_readable(self) -> None:
        """Raise what the base failed with, even if a contract caught it: Unavailable ``ledger.state_unreadable``."""
        if self._fault is not None:
            raise self._fault

    def _failed(self, error: Exception) -> Exception:
        """Return, and remember, what a store's error is to those who execute a block."""
        self._fault = MemoryError()
        if not isinstance(error, MemoryError):
            self._fault = Unavailable(
                "ledger.state_unreadable",
                f"the state store failed while a block was executed: {error}",
                next_step="check the disk, then restart the node; the block was not committed",
            )
        return self._fault

    def _spend(self, units: int) -> None:
        if not self._is_counted:
            return
        self.work += units
        if self.work > MAX_BLOCK_WORK:
            raise InvalidInput(
                "ledger.work_exceeded",
                f"the transaction reads and writes more than the {MAX_BLOCK_WORK} state keys of a whole block",
                next_step="do it in several transactions",
            )

    def _require_writable(self, key: str) -> None:
        if not self._room or not key.startswith(self._room):
            raise ValueError(f"a contract of room {self._room or 'none'} may not write {key[:MAX_KEY_BYTES]!r}")
        _require_key(key)


def _decode_value(data: bytes | None) -> Any:
    return None if data is None else decode_cbor(data)


def _require_key(key: str) -> None:
    """Keep from the store what it cannot take: a bad key is the contract's fault and must not look like the disk's."""
    if not key or not key.isascii() or len(key) > MAX_KEY_BYTES:
        raise ValueError(f"a state key is 1 to {MAX_KEY_BYTES} ASCII characters, not {key[:MAX_KEY_BYTES]!r}")
