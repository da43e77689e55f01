"""Typed ids, so that a taxpayer is never passed where a member is meant, and the random source that makes them.

A random id is unique for its author alone: anybody may use any bytes. What is referred to by others than its author is
referred to by an ``OwnedId``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NewType

MemberId = NewType("MemberId", str)
"""A member institution's short name in the genesis, ``[a-z][a-z0-9-]{1,31}``."""

Uscc = NewType("Uscc", str)
"""统一社会信用代码, or the pseudonymous taxpayer id of a research data set. Never on the ledger."""

ID_BYTES = 16
"""Length of every random id (batch, consent, request, transaction), in bytes."""

OwnedId = NewType("OwnedId", str)
"""``<member>/<id in hex>``: an id together with the member it belongs to; the end of the state key of what it names."""

OWNED_ID_PATTERN = r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}\Z"
OWNED_ID_CHARS = 65
"""Longest owned id: a member id of 32 characters, a stroke, 32 hex digits."""

Entropy = Callable[[int], bytes]
"""A source of n unpredictable bytes; injected so that a seeded scenario can be repeated."""

system_entropy: Entropy = os.urandom


def new_id(entropy: Entropy = system_entropy) -> bytes:
    """Return a fresh random id of 16 bytes."""
    return entropy(ID_BYTES)


def owned_id(owner: str, identifier: bytes) -> OwnedId:
    """Return the id of what a member made, with the member."""
    return OwnedId(f"{owner}/{identifier.hex()}")


def split_owned_id(name: OwnedId) -> tuple[MemberId, bytes]:
    """Return the member and the id of a well-formed owned id."""
    owner, _, identifier = name.partition("/")
    return MemberId(owner), bytes.fromhex(identifier)
