"""A bank that tries to learn more than a score of what it gets back: it does from a naive evaluator, and not from ours.

The data is which bin each of three features of a taxpayer falls into. The bank has its key, its ciphertexts, and all
that came back.
"""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest

from shuiqiao.privacy.blind.packing import DEGREE, unpack
from shuiqiao.privacy.blind.scheme import SLOTS, blind_scheme

FEATURES, BINS = 3, 4
POINTS = [-30, -10, 10, 30, -7, -2, 3, 8, 0, 5, 9, 40]
BIN_OF = (2, 0, 3)


@pytest.fixture(scope="module")
def scheme():
    return blind_scheme()


@pytest.fixture(scope="module")
def keys(scheme):
    return scheme.generate_keys()


@pytest.fixture(scope="module")
def sent(scheme, keys):
    return scheme.encrypt_weights(POINTS, secret=keys.secret)


@pytest.fixture(scope="module")
def weights(scheme, keys, sent):
    return scheme.read_weights(sent, public=keys.public)


def indicators(bins, taxpayers=1):
    holds = np.zeros((FEATURES * BINS, taxpayers), dtype=np.bool_)
    for feature, chosen in enumerate(bins):
        holds[feature * BINS + chosen] = True
    return holds


def naive(scheme, weights, holds):
    """What an evaluator gives that multiplies, adds and rescales, and leaves it at that."""
    total = scheme._sum(weights, holds)
    scheme._evaluator.rescale_to_next_inplace(total)
    return scheme._residues(total, primes=1)[1, 0]


def second_part(scheme, result):
    return unpack(result, primes=scheme._primes[:1], polynomials=2, name="result")[1, 0]


def solved(scheme, keys, found):
    """Try every taxpayer that there can be: whose second part is what came back?"""
    mine = scheme.read_weights(keys["sent"], public=keys["public"])
    return [
        bins
        for bins in product(range(BINS), repeat=FEATURES)
        if (naive(scheme, mine, indicators(bins)) == found).mean() > 0.5
    ]


def solve_sums(rows, wanted, *, prime):
    """Solve sums of unknown numbers over whole numbers below a prime; None where no numbers solve all of them."""
    unknowns = len(rows[0])
    table = [[*row, value] for row, value in zip(rows, wanted, strict=True)]
    for column in range(unknowns):
        pivot = next(place for place in range(column, len(table)) if table[place][column])
        table[column], table[pivot] = table[pivot], table[column]
        inverse = pow(table[column][column], -1, prime)
        table[column] = [value * inverse % prime for value in table[column]]
        for place, row in enumerate(table):
            if place != column and row[column]:
                times = row[column]
                table[place] = [(value - times * lead) % prime for value, lead in zip(row, table[column], strict=True)]
    if any(row[-1] for row in table[unknowns:]):
        return None
    return [row[-1] for row in table[:unknowns]]


def test_the_second_part_of_a_naive_sum_solves_for_every_indicator(scheme, weights, sent):
    """c1 = sum of x_i a_i, and the bank knows each a_i: sixteen coefficients are more than enough for twelve x."""
    holds = indicators(BIN_OF)
    total = scheme._seal.Ciphertext()
    scheme._evaluator.add_many([weights.ciphertexts[place] for place in np.flatnonzero(holds)], total)
    prime = scheme._primes[0]
    known = [unpack(each, primes=scheme._primes[:-1], polynomials=2, name="weight")[1, 0] for each in sent]
    rows = [[int(each[place]) for each in known] for place in range(16)]
    came = [int(value) for value in scheme._residues(total, primes=2)[1, 0, :16]]
    assert solve_sums(rows, came, prime=prime) == holds[:, 0].astype(int).tolist()

    # The same sums of what our evaluator gives have no solution at all, in whatever number the taxpayer's slot is scaled.
    came = [int(value) for value in second_part(scheme, scheme.evaluate(weights, holds, entropy=os.urandom))[:16]]
    assert solve_sums(rows, came, prime=prime) is None


def test_a_bank_that_tries_every_taxpayer_finds_the_one_from_a_naive_evaluator_and_none_from_ours(
    scheme, keys, weights, sent
):
    """[BLIND-5]"""
    mine = {"sent": sent, "public": keys.public}
    assert solved(scheme, mine, naive(scheme, weights, indicators(BIN_OF))) == [BIN_OF]
    result = scheme.evaluate(weights, indicators(BIN_OF), entropy=os.urandom)
    assert solved(scheme, mine, second_part(scheme, result)) == []

    # How far it is from what the bank expects says nothing either: as far from the true taxpayer as from any other.
    prime = scheme._primes[0]
    expected = {bins: naive(scheme, weights, indicators(bins)) for bins in (BIN_OF, (0, 0, 0), (3, 3, 3))}
    for second in expected.values():
        apart = (second_part(scheme, result).astype(object) - second.astype(object)) % prime
        centred = np.minimum(apart, prime - apart).astype(float) / prime
        assert abs(centred.mean() - 0.25) < 0.01


def test_a_vector_for_each_slot_gives_one_score_and_not_one_for_each_slot(scheme, keys):
    """[BLIND-4]: a taxpayer stands in one slot; the other ones are empty, and covered."""
    chosen = np.random.default_rng(5).integers(-900, 900, size=(FEATURES * BINS, SLOTS))
    sent = scheme.encrypt_weights([row.tolist() for row in chosen], secret=keys.secret)
    weights = scheme.read_weights(sent, public=keys.public)
    holds = indicators(BIN_OF)
    wanted = holds[:, 0].astype(int) @ chosen

    # Who puts the taxpayer into every slot gives 4,096 scores of it, by which all indicators are solved for.
    everywhere = scheme.evaluate(weights, indicators(BIN_OF, SLOTS), entropy=os.urandom)
    given = np.rint(scheme.decrypt(everywhere, secret=keys.secret, count=SLOTS))
    assert (given == wanted).mean() > 0.99
    numbers, *_ = np.linalg.lstsq(chosen.T.astype(float), given, rcond=None)
    assert (np.rint(numbers) == holds[:, 0]).all()

    # In one slot: that score, and noise that is wider than any score.
    found = scheme.decrypt(scheme.evaluate(weights, holds, entropy=os.urandom), secret=keys.secret, count=SLOTS)
    assert abs(found[0] - wanted[0]) <= 0.5 + 2**-10
    assert (np.abs(found[1:] - wanted[1:]) < 1).sum() < 8
    assert abs(np.corrcoef(found[1:], wanted[1:])[0, 1]) < 0.1


def test_what_is_beside_the_real_part_is_covered_too(scheme, keys, weights):
    """[BLIND-5]: a slot holds a complex number, and the bank reads both parts."""
    result = scheme.evaluate(weights, indicators(BIN_OF), entropy=os.urandom)
    plain = scheme._seal.Plaintext()
    found = unpack(result, primes=scheme._primes[:1], polynomials=2, name="result")
    ciphertext = scheme._ciphertext(found, level=scheme._context.last_parms_id())
    scheme._seal.Decryptor(scheme._context, scheme._secret_key(keys.secret)).decrypt(ciphertext, plain)
    slots = np.array(scheme._encoder.decode_complex(plain)) / 64
    assert DEGREE // 2 == len(slots)
    assert 0.5 < np.abs(slots.imag).mean() / 8_192 < 1.5
    assert np.abs(slots.imag[0]) > 1
