"""What each act asks and answers: one form, bounded before it is read [PEER-4]."""

from __future__ import annotations

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES, Block, Committed
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import MAX_SUBMITTED, Act


def outcome(*results, blocks=(), note=b""):
    return acts.Results(results=list(results), blocks=list(blocks), note=note)


def test_a_block_comes_back_as_it_was():
    block = Block(height=3, time_ms=5, first_index=7, transactions=(b"a", b"b"), entry=b"e")
    page = acts.encode_wire(acts.BlockPage(blocks=[acts.WireBlock.of(block)]))
    (found,) = acts.decode_wire(page, acts.BlockPage, max_bytes=len(page)).blocks
    assert found.block() == block


@pytest.mark.parametrize(
    "error", [Denied("ledger.member_suspended", "it is"), Unavailable("ledger.busy", "many", retry_after_s=0.5)]
)
def test_a_refusal_comes_back_as_the_error_that_it_was(error):
    results = outcome(acts.Refused.of(error), acts.Placed.of(Committed(index=1, height=2, time_ms=3)))
    refused, placed = acts.decode_wire(acts.encode_wire(results), acts.Results, max_bytes=1 << 20).results
    found = refused.as_error(place="writer")
    assert (type(found), found.code, found.message) == (type(error), error.code, error.message)
    assert getattr(found, "retry_after_s", None) == getattr(error, "retry_after_s", None)
    assert placed.committed() == Committed(index=1, height=2, time_ms=3)


def test_a_refusal_of_any_length_fits():
    refused = acts.Refused.of(Denied("ledger.tx_malformed", "税" * 100_000))
    assert len(refused.problem) <= acts.MAX_PROBLEM_BYTES
    assert refused.as_error(place="writer").code == "ledger.tx_malformed"


def test_the_largest_sides_are_within_their_bounds():
    whole = acts.Submitted(transactions=[b"x" * MAX_TRANSACTION_BYTES] * MAX_SUBMITTED, from_height=2**53 - 1)
    assert len(acts.encode_wire(whole)) <= Act.SUBMIT.max_message_bytes - 1_024
    page = acts.PAGE_BYTES + 8 * 1024 * 1024 + MAX_TRANSACTION_BYTES
    blocks = [
        acts.WireBlock(
            height=1, time_ms=1, first_index=0, transactions=[b"x" * 2_048] * (page // 2_048), entry=b"e" * 200
        )
    ]
    assert len(acts.encode_wire(acts.BlockPage(blocks=blocks))) <= acts.max_answer_bytes(Act.BLOCKS)
    refused = acts.Refused.of(Denied("a.b", "x" * 2_000))
    most = acts.BROUGHT_BYTES // acts.BROUGHT_BLOCKS
    each = acts.WireBlock(
        height=2**53 - 1,
        time_ms=2**53 - 1,
        first_index=2**53 - 1,
        # The shortest transactions need the most room beside their own bytes.
        transactions=[b"x" * 128] * (most // 128),
        entry=b"e" * 1_024,
    )
    blocks, note = [each] * acts.BROUGHT_BLOCKS, bytes(16_384)
    whole = outcome(*[refused] * MAX_SUBMITTED, blocks=blocks, note=note)
    assert len(acts.encode_wire(whole)) <= acts.max_answer_bytes(Act.SUBMIT)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (acts.Nothing, {"more": 1}),
        (acts.FromHeight, {"from_height": 0}),
        (acts.FromHeight, {"from_height": 2**53}),
        (acts.FromHeight, {"from_height": True}),
        (acts.AfterHeight, {"height": 1, "wait_ms": 25_001}),
        (acts.Submitted, {"transactions": [], "from_height": 0}),
        (acts.Submitted, {"transactions": [b"x"] * 65, "from_height": 0}),
        (acts.Submitted, {"transactions": [b"x" * (MAX_TRANSACTION_BYTES + 1)], "from_height": 0}),
        (acts.Submitted, {"transactions": [b"x"], "from_height": -1}),
        (acts.Results, {"results": [{"result": "other"}], "blocks": [], "note": b""}),
        (acts.Results, {"results": [], "blocks": [], "note": b""}),
        (acts.Path, {"path": [bytes(31)]}),
        (acts.SignedNote, {"note": bytes(16_385)}),
        (acts.Sizes, {"sizes": [-1]}),
        (acts.OfOrigin, {"origin": "x" * 97}),
        (acts.Asked, {"message": b"x" * 16_385, "height": 1}),
    ],
)
def test_another_form_is_refused(kind, value):
    """[PEER-3]"""
    with pytest.raises(InvalidInput, match=r"peer\.body_malformed"):
        acts.decode_wire(encode_cbor(value), kind, max_bytes=1 << 20)
    with pytest.raises(ShuiqiaoError, match=r"peer\.body_malformed"):
        acts.decode_wire(b"\xa0" * 3, kind, max_bytes=2)
