"""Encrypted weights: sums come back, to half a point; wrong parameters, keys and bytes are refused."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest

from absence import without
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.privacy.blind import scheme as module
from shuiqiao.privacy.blind.scheme import MAX_POINTS, SLOTS, BlindScheme, blind_scheme
from shuiqiao.privacy.model import millibits_of

POINTS = [MAX_POINTS - 1, -MAX_POINTS, 300, -77, 5, 0]


@pytest.fixture(scope="module")
def scheme():
    return blind_scheme()


@pytest.fixture(scope="module")
def keys(scheme):
    return scheme.generate_keys()


@pytest.fixture(scope="module")
def encrypted(scheme, keys):
    return scheme.encrypt_weights(POINTS, secret=keys.secret)


@pytest.fixture(scope="module")
def weights(scheme, keys, encrypted):
    return scheme.read_weights(encrypted, public=keys.public)


def some_indicators(taxpayers, *, seed=1):
    """For each taxpayer one of the first two weights, and any of the others that keeps the sum in range."""
    rng = np.random.default_rng(seed)
    holds = np.zeros((len(POINTS), taxpayers), dtype=np.bool_)
    holds[rng.integers(2, len(POINTS), taxpayers), np.arange(taxpayers)] = True
    holds[5] = True
    return holds


@pytest.mark.parametrize("taxpayers", [1, 7, SLOTS])
def test_points_come_back_to_half_a_point_of_the_sum(scheme, keys, weights, taxpayers):
    """[BLIND-4] [BLIND-6]"""
    holds = some_indicators(taxpayers)
    result = scheme.evaluate(weights, holds, entropy=os.urandom)
    found = scheme.decrypt(result, secret=keys.secret, count=taxpayers)
    assert np.abs(found - np.array(POINTS) @ holds).max() <= 0.5 + 2**-10


def test_the_noise_of_a_taxpayer_is_even_over_one_point_and_of_an_empty_slot_covers_everything(scheme, keys, weights):
    """[BLIND-5] [BLIND-6]: one of 4,096 points in noise as wide as one point is 12 bits."""
    holds = some_indicators(SLOTS - 1_000)
    found = scheme.decrypt(scheme.evaluate(weights, holds, entropy=os.urandom), secret=keys.secret, count=SLOTS)
    noise = found[: SLOTS - 1_000] - np.array(POINTS) @ holds
    counts, _ = np.histogram(noise, bins=10, range=(-0.5, 0.5))
    assert counts.sum() >= len(noise) - 2
    assert counts.min() > len(noise) / 10 * 0.75
    empty = found[SLOTS - 1_000 :]
    assert np.abs(empty).max() > 15_000
    assert np.abs(np.mean(empty)) < 1_500
    assert millibits_of(2 * MAX_POINTS) == 12_000


def test_two_results_of_one_taxpayer_have_nothing_in_common(scheme, weights):
    """[BLIND-5]"""
    holds = some_indicators(1)
    first, second = (scheme.evaluate(weights, holds, entropy=os.urandom) for _ in range(2))
    assert np.mean(np.frombuffer(first, np.uint64) == np.frombuffer(second, np.uint64)) == 0


def test_another_key_reads_noise(scheme, weights):
    result = scheme.evaluate(weights, some_indicators(1), entropy=os.urandom)
    found = scheme.decrypt(result, secret=scheme.generate_keys().secret, count=1)
    assert abs(found[0]) > 2 * MAX_POINTS


def test_parameters_that_give_garbage_without_an_error_do_not_pass_the_self_test():
    """[BLIND-2]: the library takes these and multiplies by them; only what comes out is wrong."""
    import tenseal

    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[40, 21, 21, 40])
    context.global_scale = 2**40
    garbage = (tenseal.ckks_vector(context, [500.0] * 4) * ([64.0] * 4)).decrypt()
    assert all(abs(value - 32_000.0) > 1_000 for value in garbage)
    with pytest.raises(IntegrityError, match=r"privacy\.blind_self_test_failed"):
        BlindScheme([40, 21, 21, 40])


@pytest.mark.parametrize("bits", [[30, 40, 60], [60, 60, 60, 60]])
def test_a_narrow_first_prime_or_too_many_bits_are_refused(bits):
    """[BLIND-2]: results wrap around the first; the second is insecure at this degree."""
    with pytest.raises(IntegrityError, match=r"privacy\.blind_(self_test_failed|failed)"):
        BlindScheme(bits)


@pytest.mark.parametrize(
    "holds",
    [
        np.ones((len(POINTS) - 1, 1), dtype=np.bool_),
        np.ones((len(POINTS), SLOTS + 1), dtype=np.bool_),
        np.ones((len(POINTS), 0), dtype=np.bool_),
        np.zeros((len(POINTS), 1), dtype=np.bool_),
    ],
)
def test_other_shapes_are_refused(scheme, weights, holds):
    """[BLIND-4]"""
    with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
        scheme.evaluate(weights, holds, entropy=os.urandom)


def test_what_is_no_ciphertext_is_refused_before_the_library_reads_it(scheme, keys, encrypted, monkeypatch):
    """[BLIND-3]"""
    monkeypatch.setattr(BlindScheme, "_loaded", lambda *_: pytest.fail("the library read it"))
    huge = struct.pack("<Q", 2**64 - 1) + encrypted[0][8:]
    hides_nothing = encrypted[0][: len(encrypted[0]) // 2] + bytes(len(encrypted[0]) // 2)
    for bad in (b"", encrypted[0][:-1], encrypted[0] + b"\0", huge, hides_nothing, keys.public):
        with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
            scheme.read_weights([encrypted[0], bad], public=keys.public)
    for bad in (b"", keys.public[:-1], encrypted[0], keys.secret):
        with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
            scheme.read_weights(encrypted[:1], public=bad)
    for bad in (b"", bytes(7), keys.public):
        with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
            scheme.decrypt(bad, secret=keys.secret, count=1)
        with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
            scheme.decrypt(bytes(131_072), secret=bad, count=1)


def test_a_weight_that_does_not_fit_is_refused_by_the_house_and_not_by_the_library(scheme, keys):
    with pytest.raises(IntegrityError, match=r"privacy\.blind_failed"):
        scheme.encrypt_weights([2**70], secret=keys.secret)


def test_without_the_extra_a_refusal_says_what_to_install(monkeypatch):
    """[BLIND-1]"""
    without("tenseal", monkeypatch)
    with pytest.raises(Unavailable, match=r"privacy\.extra_missing") as refusal:
        BlindScheme()
    assert "tenseal==0.3.18" in refusal.value.next_step
    assert refusal.value.next_step == module.INSTALL
