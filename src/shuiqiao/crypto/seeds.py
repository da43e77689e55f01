"""Seeds: the 32 bytes from which every private key comes, and the children of a seed."""

from __future__ import annotations

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.kdf import hkdf
from shuiqiao.crypto.model import SEED_BYTES


def verify_seed(seed: bytes) -> None:
    """Raise InvalidInput (``crypto.seed_length``) unless a seed has 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise InvalidInput("crypto.seed_length", f"a seed has {SEED_BYTES} bytes, not {len(seed)}")


def child_seed(seed: bytes, *, hash_name: str, label: str, context: bytes) -> bytes:
    """Return a 32-byte child: HKDF over the suite hash with info = label || 0x00 || context.

    A label contains no zero byte, so two pairs of label and context never give the same info. Raises InvalidInput
    (``crypto.seed_length``, ``crypto.seed_label``).
    """
    verify_seed(seed)
    if not label or "\0" in label:
        raise InvalidInput("crypto.seed_label", f"{label!r} is empty or contains a zero byte")
    return hkdf(seed, hash_name=hash_name, info=label.encode() + b"\0" + context, length=SEED_BYTES)
