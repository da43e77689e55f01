"""Typed ids, so that a taxpayer is never passed where a member is meant, and the random source that makes them."""

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

Entropy = Callable[[int], bytes]
"""A source of n unpredictable bytes; injected so that a seeded scenario can be repeated."""

system_entropy: Entropy = os.urandom


def new_id(entropy: Entropy = system_entropy) -> bytes:
    """Return a fresh random id of 16 bytes."""
    return entropy(ID_BYTES)
