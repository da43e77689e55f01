"""What a bank can read of a run: the output and nothing else; and what of the inputs crosses between the two.

Both parties run in this process, over frames that are kept, so that every byte that would go into TLS is seen.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from absence import absent
from shuiqiao.base.errors import Unavailable
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import ADDED, SecureFunction, SecureOutput
from shuiqiao.sandbox.secure_pair import overheard_parties, random_rows

RANDOM = np.random.default_rng(7)


class Both:
    """Both parties, each in a thread of its own."""

    def __init__(self):
        self.parties, self.frames = zip(*overheard_parties(), strict=True)
        self.threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def each(self, half):
        asked = [thread.submit(half, rank) for rank, thread in enumerate(self.threads)]
        return [each.result() for each in asked]

    def run(self, function, weights, holds):
        """Return what each party has of the result in its own process, before anything is held back."""
        values = np.array(weights, dtype=np.int64), np.array(holds, dtype=np.int64).reshape(-1)

        def half(rank):
            party = self.parties[rank]
            return party.run(function, party.compiled(function.text, inputs=3 if function.cuts else 2), values[rank])

        return self.each(half)


def shares_of(function, results):
    """Return what leaves the two processes."""
    return [function.share_of(kind, words, tag=bytes(8)) for kind, words in results]


@pytest.fixture(scope="module")
def both():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)
    made = Both()
    yield made
    for thread in made.threads:
        thread.shutdown()


def sums_of(results):
    """Return what a bank would read if the bureau gave all that it has."""
    assert [kind for kind, _ in results] == [ADDED, ADDED]
    bank, bureau = (np.frombuffer(words, dtype="<u8") for _, words in results)
    return bank + bureau


def test_weights_in_powers_of_two_read_a_row_from_a_sum_and_twelve_of_its_bits_from_points(both):
    """[SECURE-2] 63 weights 2**0 ... 2**62: the sum is the row, bit for bit."""
    rows, bits = 64, 63
    function = SecureFunction(indicators=bits, cuts=0, output=SecureOutput.POINTS, rows=rows)
    holds = RANDOM.integers(0, 2, (rows, bits))
    results = both.run(function, [2**place for place in range(bits)], holds)

    def read(values):
        return (np.array(values, dtype=np.uint64)[:, np.newaxis] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)

    assert read(sums_of(results)).tolist() == holds.tolist()
    shares = shares_of(function, results)
    assert len(shares[1]) == 9 + 2 * rows
    assert all(int.from_bytes(shares[1][first : first + 2], "little") < 4_096 for first in range(9, len(shares[1]), 2))
    found = read([value % 4_096 for value in function.combine_all(*shares)])
    assert found[:, :12].tolist() == holds[:, :12].tolist()
    assert not found[:, 12:].any()


def test_rows_that_differ_beyond_twelve_bits_give_the_same(both):
    """[SECURE-2]"""
    function = SecureFunction(indicators=3, cuts=0, output=SecureOutput.POINTS)
    weights = [100, 2**12, 2**40]
    given = [function.combine(*shares_of(function, both.run(function, weights, row))) for row in ([1, 0, 0], [1, 1, 1])]
    assert given == [100, 100]


@pytest.mark.parametrize("step", [2**53, 2**62, 2**63 - 1, -(2**63)])
def test_weights_that_go_round_the_ring_give_twelve_bits_of_the_sum(both, step):
    """[SECURE-2]"""
    rows = 256
    function = SecureFunction(indicators=8, cuts=0, output=SecureOutput.POINTS, rows=rows)
    weights = [step, step // 3, 1, 2, 4, -(step // 5), step - step // 7, 1_024]
    holds = (np.arange(rows)[:, np.newaxis] >> np.arange(8)) & 1
    found = function.combine_all(*shares_of(function, both.run(function, weights, holds)))
    plain = (holds * np.array(weights, dtype=np.int64)).sum(axis=1)
    assert found == ((plain + 2_048) % 4_096 - 2_048).tolist()


def forms_of(numbers):
    """Return how runs of numbers could stand in bytes: at each width, and as bits where they are 0 or 1."""
    values = np.array(numbers, dtype=np.int64)
    if np.abs(values).max() > 1:
        runs = {"<i8": 4, "<i4": 5, "<i2": 5}
        return {
            values[first : first + run].astype(width).tobytes()
            for width, run in runs.items()
            for first in range(0, len(values) - run + 1, run)
        }
    # Of zeros and ones a run must be long and hold four ones at the least: a shorter one stands anywhere.
    forms = {
        values[first : first + 20].astype(width).tobytes()
        for width in ("<i8", "<i4", "<i2", "i1")
        for first in range(0, 81, 20)
    }
    for order in ("little", "big"):
        bits = np.packbits(values, bitorder=order).tobytes()
        forms |= {bits[first : first + 6] for first in range(len(bits) - 5)}
    return forms


def found_in(data, numbers):
    return sum(bytes(data).count(form) for form in forms_of(numbers))


def test_no_weight_cut_or_row_stands_in_what_crosses_and_the_same_look_finds_them_where_they_do(both):
    """[SECURE-1]"""
    function = SecureFunction(indicators=100, cuts=5, output=SecureOutput.BAND)
    weights, cuts = RANDOM.integers(-200, 200, 100), np.sort(RANDOM.integers(-600, 600, 5))
    row = random_rows(RANDOM, rows=1)[0]
    sent = [len(frames.sent) for frames in both.frames]
    both.run(function, [*weights, *cuts], row)
    crossed = [bytes(frames.sent[before:]) for frames, before in zip(both.frames, sent, strict=True)]
    assert min(map(len, crossed)) > 50_000
    # What each party puts in is its own share of it, which never leaves: there the same look finds the numbers.
    kept = []
    for rank, numbers in ((0, weights), (0, cuts), (1, row)):
        party = both.parties[rank]
        secret = party._library.Visibility.VIS_SECRET
        kept.append(b"".join(party._inputs.MakeShares(numbers, secret, rank)[rank].share_chunks))
    assert [found_in(data, numbers) > 0 for data, numbers in zip(kept, (weights, cuts, row), strict=True)] == [True] * 3
    naive = [np.array(row, dtype=form).tobytes() for form in ("<i8", "<i4", "<i2", "i1")] + [np.packbits(row).tobytes()]
    assert all(found_in(data, row) > 0 for data in naive)
    assert [found_in(data, numbers) for data in crossed for numbers in (weights, cuts, row)] == [0] * 6


def test_the_bureaus_share_alone_says_nothing(both):
    """[SECURE-2] The same score again and again gives other shares, which lie all over their range."""
    function = SecureFunction(indicators=8, cuts=0, output=SecureOutput.POINTS, rows=64)
    shares = shares_of(function, both.run(function, [10] * 8, [1] * 8 * 64))
    assert function.combine_all(*shares) == [80] * 64
    words = np.frombuffer(shares[1][9:], dtype="<u2")
    assert len(set(words.tolist())) > 40
    assert words.min() < 1_024
    assert words.max() > 3_072
