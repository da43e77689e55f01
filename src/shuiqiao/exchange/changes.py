"""Which records of an answer were amended or erased after it left: told to its recipient and to its provider.

The ledger tells: ``anchor.amend`` and ``anchor.erase`` name leaves, and each side knows which leaves an answer held. So
nothing is sent, and neither side can keep it from the other [EXCHANGE-21].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from shuiqiao.base.encoding import decode_cbor, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError
from shuiqiao.vault.model import LeafLookup, LeafRef, LeafStatus

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.vault.disclosure import Disclosure

Leaves = Mapping[str, Sequence[tuple[bytes, bytes]]]
"""Standard id -> (batch id, leaf indexes of four bytes each)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRecord:
    """A record that an answer held and that is not live any more. other: the member at the other side of the answer."""

    request: bytes
    other: MemberId
    taxpayer: str
    standard: str
    leaf: LeafRef
    status: LeafStatus


def leaves_of(disclosure: Disclosure) -> Leaves:
    """Return the places of the records in a disclosure: nothing of their content."""
    return {
        entry.standard: [(proven.batch, proven.indexes.astype("<u4").tobytes()) for proven in entry.proofs]
        for entry in disclosure.types
    }


def encode_leaves(leaves: Leaves) -> bytes:
    """Return leaves as bytes for the provider's own store."""
    return encode_cbor({standard: [list(part) for part in parts] for standard, parts in leaves.items()})


def decode_leaves(data: bytes) -> Leaves:
    """Return leaves from the provider's own store. Raises IntegrityError ``base.cbor_damaged``."""
    fields = decode_cbor(data)
    try:
        return typed(fields, dict[str, list[tuple[bytes, bytes]]], builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise IntegrityError("base.cbor_damaged", f"{len(data)} stored bytes name no records: {error}") from error


def changed_records(
    leaves: Leaves, *, status_of: LeafLookup, request: bytes, other: MemberId, taxpayer: str
) -> Iterable[ChangedRecord]:
    """Yield the records of one answer that are superseded or erased by now."""
    for standard, parts in leaves.items():
        for batch, indexes in parts:
            if status_of.is_unchanged(batch):
                continue
            for index in np.frombuffer(indexes, dtype="<u4").tolist():
                status = status_of(batch, index)
                if status is not LeafStatus.LIVE:
                    yield ChangedRecord(
                        request=request,
                        other=other,
                        taxpayer=taxpayer,
                        standard=standard,
                        leaf=LeafRef(batch, index),
                        status=status,
                    )
