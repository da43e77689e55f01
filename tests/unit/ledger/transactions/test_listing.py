"""A log is listed in parts, of one kind and one author where these are named, and searched for one transaction."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.transactions.listing import MAX_LISTED, find_transaction, list_transactions

WROTE = [
    ["note.write", "note.write"],
    ["note.trace"],
    [],
    ["note.write", "note.trace", "note.write"],
]
"""Kinds by block; behind each block stands its entry, which is a leaf and no transaction."""
INDEXES = [0, 1, 3, 6, 7, 8]


@pytest.fixture
def log(intl):
    """Blocks of transactions by two authors in turns, and what reads them."""
    blocks, first_index, number = [], 0, 0
    for height, kinds in enumerate(WROTE, start=1):
        raws = []
        for kind in kinds:
            raws.append(intl.write(kind, author=("bureau", "first-bank")[number % 2]))
            number += 1
        blocks.append(
            Block(height=height, time_ms=height * 10, first_index=first_index, transactions=tuple(raws), entry=b"entry")
        )
        first_index += len(raws) + 1
    return blocks, intl.machine.decode


def listed(log, **filters):
    blocks, decode = log
    page = list_transactions(blocks, decode=decode, **{"limit": MAX_LISTED, **filters})
    return [entry.index for entry in page.transactions], page.next_index


def test_every_transaction_stands_with_its_place_and_time(log):
    blocks, decode = log
    page = list_transactions(blocks, decode=decode, limit=10)
    assert [entry.index for entry in page.transactions] == INDEXES
    assert [(entry.height, entry.time_ms) for entry in page.transactions] == [
        (1, 10), (1, 10), (2, 20), (4, 40), (4, 40), (4, 40),
    ]  # fmt: skip
    assert [entry.author for entry in page.transactions] == ["bureau", "first-bank"] * 3
    assert [entry.id for entry in page.transactions] == [
        decode(raw).id for block in blocks for raw in block.transactions
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"limit": 6}, (INDEXES, None)),
        ({"limit": 5}, (INDEXES[:5], 8)),
        ({"limit": 2, "first_index": 3}, ([3, 6], 7)),
        ({"first_index": 4}, ([6, 7, 8], None)),
        ({"first_index": 9}, ([], None)),
        ({"kind": "note.trace"}, ([3, 7], None)),
        ({"kind": "note.trace", "limit": 1}, ([3], 7)),
        ({"author": "first-bank"}, ([1, 6, 8], None)),
        ({"kind": "note.write", "author": "first-bank", "limit": 2}, ([1, 6], 8)),
        ({"kind": "note"}, ([], None)),
        ({"author": ""}, ([], None)),
    ],
)
def test_a_part_of_the_log_says_where_the_next_begins(log, filters, expected):
    assert listed(log, **filters) == expected


@pytest.mark.parametrize("limit", [0, -1, MAX_LISTED + 1])
def test_a_list_has_a_bound(log, limit):
    with pytest.raises(InvalidInput, match=r"^ledger\.limit_wrong"):
        listed(log, limit=limit)


def test_the_first_transaction_that_fits_is_found(log):
    blocks, decode = log
    assert find_transaction(blocks, decode=decode, fits=lambda tx: tx.kind == "note.trace") == 3
    assert find_transaction(blocks, decode=decode, fits=lambda tx: tx.author == "first-bank") == 1
    assert find_transaction(blocks, decode=decode, fits=lambda tx: tx.author == "nobody") is None
