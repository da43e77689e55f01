"""Keys and ciphertexts as bytes: one length for each, every residue below its prime, or they are refused."""

from __future__ import annotations

import numpy as np
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.privacy.blind.packing import DEGREE, bytes_of, pack, unpack

PRIMES = (1_152_921_504_606_748_673, 1_099_511_480_321)


def residues(rng):
    return np.stack([rng.integers(0, prime, size=(2, DEGREE), dtype=np.uint64) for prime in PRIMES], axis=1)


def test_polynomials_are_read_back_in_as_many_bytes_as_their_primes_have():
    found = residues(np.random.default_rng(1))
    data = pack(found, primes=PRIMES)
    assert len(data) == bytes_of(PRIMES, polynomials=2) == 2 * DEGREE * (8 + 5)
    assert (unpack(data, primes=PRIMES, polynomials=2, name="test") == found).all()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_another_length_is_refused(change):
    """[BLIND-3]"""
    data = pack(residues(np.random.default_rng(2)), primes=PRIMES)
    with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed.*bytes where"):
        unpack(change(data), primes=PRIMES, polynomials=2, name="test")


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("above", [0, 1])
def test_a_residue_at_or_above_its_prime_is_refused(place, above):
    """[BLIND-3]"""
    found = residues(np.random.default_rng(3))
    found[1, place, 77] = PRIMES[place] + above
    with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed.*not below its prime"):
        unpack(pack(found, primes=PRIMES), primes=PRIMES, polynomials=2, name="test")
