"""The bytes of keys and ciphertexts: residues at fixed places, each one checked before the library sees any of them.

Rule: docs/spec/blind.md [BLIND-3]. A polynomial is its residues, prime after prime, in the library's transformed form;
a residue takes as many bytes as its prime, little-endian. So each kind of object has one length. The library's own
serialised form, which has lengths, flags and compression of its own inside, is never read from outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput

DEGREE = 8_192
"""Coefficients of a polynomial."""

Residues = npt.NDArray[np.uint64]
"""Polynomials x primes x coefficients."""

_WORD_BYTES = 8


def bytes_of(primes: Sequence[int], *, polynomials: int) -> int:
    """Return how many bytes some polynomials over some primes take."""
    return polynomials * DEGREE * sum(_width(prime) for prime in primes)


def pack(residues: Residues, *, primes: Sequence[int]) -> bytes:
    """Return the bytes of polynomials. residues: polynomials x primes x coefficients."""
    words = np.ascontiguousarray(residues, dtype="<u8").view(np.uint8).reshape((*residues.shape, _WORD_BYTES))
    return b"".join(
        words[polynomial, place, :, : _width(prime)].tobytes()
        for polynomial in range(len(residues))
        for place, prime in enumerate(primes)
    )


def unpack(data: bytes, *, primes: Sequence[int], polynomials: int, name: str) -> Residues:
    """Return the polynomials that bytes stand for. name: of what they are, for the refusal.

    Raises InvalidInput ``privacy.blind_malformed`` for another length, and for a residue that is not below its prime.
    """
    wanted = bytes_of(primes, polynomials=polynomials)
    if len(data) != wanted:
        raise _malformed(name, f"it has {len(data)} bytes where {wanted} are wanted")
    found = np.zeros((polynomials, len(primes), DEGREE, _WORD_BYTES), dtype=np.uint8)
    read = 0
    for polynomial in range(polynomials):
        for place, prime in enumerate(primes):
            size = DEGREE * _width(prime)
            part = np.frombuffer(data, dtype=np.uint8, count=size, offset=read)
            found[polynomial, place, :, : _width(prime)] = part.reshape(DEGREE, -1)
            read += size
    residues: Residues = found.view("<u8").reshape(polynomials, len(primes), DEGREE)
    if (residues >= np.array(primes, dtype=np.uint64)[:, np.newaxis]).any():
        raise _malformed(name, "a residue is not below its prime")
    return residues


def _width(prime: int) -> int:
    return math.ceil(prime.bit_length() / 8)


def _malformed(name: str, problem: str) -> InvalidInput:
    return InvalidInput("privacy.blind_malformed", f"this is no {name}: {problem}")
