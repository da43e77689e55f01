"""The follower's way to a writer elsewhere: what goes together, pages that follow each other, refusals that count."""

from __future__ import annotations

import threading

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Denied, ShuiqiaoError, Unavailable
from shuiqiao.ledger.checkpoints.signed_note import SignatureLine, encode_line, encode_text
from shuiqiao.ledger.model import Block
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.http_ledger import MAX_WAITING, BlockPages, HttpLedger, Outgoing
from shuiqiao.node.peers.message import MAX_SUBMITTED, Act


class Sending:
    """A way to the writer that waits until it may go on, and remembers what went together."""

    def __init__(self, answer=lambda raw: acts.Placed(index=1, height=2, time_ms=3)) -> None:
        self.sizes = []
        self.alone = []
        self.may_go = threading.Event()
        self.answer = answer

    def __call__(self, raws, *, is_alone):
        self.sizes.append(len(raws))
        self.alone.append(is_alone)
        assert self.may_go.wait(PATIENCE_S)
        return [self.answer(raw) for raw in raws]


def test_what_is_handed_in_while_messages_are_on_their_way_goes_together():
    """[PEER-8]"""
    sending = Sending()
    outgoing = Outgoing(sending)
    futures = [outgoing.put(b"%d" % number) for number in range(1_000)]
    sending.may_go.set()
    assert {future.result(timeout=PATIENCE_S).height for future in futures} == {2}
    assert sum(sending.sizes) == 1_000
    assert max(sending.sizes) == MAX_SUBMITTED
    assert len(sending.sizes) < 1_000 / MAX_SUBMITTED + 8
    # Nobody waits for one of many.
    assert sum(sending.alone) <= 1
    outgoing.put(b"last").result(timeout=PATIENCE_S)
    assert sending.alone[-1]
    outgoing.close()


def test_only_what_the_writer_says_of_one_transaction_is_its_refusal():
    refused = acts.Refused.of(Denied("ledger.member_suspended", "it is"))
    sending = Sending(lambda raw: refused if raw == b"bad" else acts.Placed(index=1, height=2, time_ms=3))
    sending.may_go.set()
    outgoing = Outgoing(sending)
    with pytest.raises(Denied, match=r"ledger\.member_suspended"):
        outgoing.put(b"bad").result(timeout=PATIENCE_S)
    assert outgoing.put(b"good").result(timeout=PATIENCE_S).index == 1
    outgoing.close()


@pytest.mark.parametrize("error", [Denied("peer.clock_differs", "off"), Unavailable("client.unreachable", "away")])
def test_a_message_that_is_refused_says_nothing_of_its_transactions(error):
    def send(_raws, *, is_alone):
        raise error

    outgoing = Outgoing(send)
    with pytest.raises(Unavailable, match=error.code):
        outgoing.put(b"one").result(timeout=PATIENCE_S)
    outgoing.close()


def test_a_way_that_breaks_down_tells_those_who_wait():
    def send(_raws, *, is_alone):
        raise RuntimeError("broken")

    outgoing = Outgoing(send)
    with pytest.raises(Unavailable, match=r"client\.unreachable"):
        outgoing.put(b"one").result(timeout=PATIENCE_S)
    outgoing.close()


def test_what_waits_is_bounded_and_ends_with_the_ledger():
    sending = Sending()
    outgoing = Outgoing(sending)
    futures = [outgoing.put(b"x") for _ in range(MAX_WAITING + 4 * MAX_SUBMITTED)]
    refused = [future.exception(timeout=0).code for future in futures if future.done()]
    assert set(refused) <= {"ledger.busy"}
    busy = outgoing.put(b"y")
    for _ in range(4 * MAX_SUBMITTED):
        busy = outgoing.put(b"y")
    assert busy.exception(timeout=0).code == "ledger.busy"
    outgoing.close()
    sending.may_go.set()
    codes = {getattr(future.exception(timeout=PATIENCE_S), "code", "done") for future in futures}
    assert codes <= {"ledger.closed", "ledger.busy", "done"}
    assert outgoing.put(b"z").exception(timeout=0).code == "ledger.closed"


_LINE = SignatureLine(name="bureau", key_hash=b"1234", signature=bytes(64))
NOTE = encode_text(origin="shuiqiao.test", size=2, root=bytes(32)) + b"\n" + encode_line(_LINE)
"""Well formed, of no log."""


def block(height, *, length=1):
    return Block(height=height, time_ms=height, first_index=2 * height, transactions=(b"x" * length,), entry=b"e")


class Chain:
    """Blocks by pages of a few."""

    def __init__(self, count, *, page=4, length=1) -> None:
        self.blocks = [block(height + 1, length=length) for height in range(count)]
        self.page = page
        self.asked = []

    def __call__(self, from_height):
        self.asked.append(from_height)
        return self.blocks[from_height - 1 : from_height - 1 + self.page]


def test_blocks_come_by_pages_and_what_is_left_of_one_serves_who_goes_on():
    chain = Chain(10)
    pages = BlockPages(chain)
    reading = pages.iterate(1)
    assert [next(reading).height for _ in range(3)] == [1, 2, 3]
    assert chain.asked == [1]
    assert [each.height for each in pages.iterate(4)] == [4, 5, 6, 7, 8, 9, 10]
    assert chain.asked == [1, 5, 9, 11]
    pages.close()


def test_blocks_that_came_with_the_checkpoint_are_given_to_the_next_reader_and_once():
    """[PEER-8]"""
    chain = Chain(6)
    pages = BlockPages(chain)
    assert next(pages.iterate(1)).height == 1
    assert pages.next_height == 2
    pages.offer(chain.blocks[1:3])
    assert [block.height for _, block in zip(range(2), pages.iterate(2), strict=False)] == [2, 3]
    assert chain.asked == [1]
    pages.offer(chain.blocks[3:4])
    assert next(pages.iterate(2)).height == 2
    assert chain.asked == [1, 2]
    pages.close()


def test_who_begins_again_at_the_same_height_is_given_fresh_blocks():
    chain = Chain(4)
    pages = BlockPages(chain)
    assert next(pages.iterate(1)).time_ms == 1
    chain.blocks[0] = Block(height=1, time_ms=99, first_index=2, transactions=(b"y",), entry=b"e")
    assert next(pages.iterate(1)).time_ms == 99
    assert [each.height for each in pages.iterate(3)] == [3, 4]
    pages.close()


def test_the_next_page_is_fetched_while_a_full_one_is_used():
    length = acts.PAGE_BYTES // 2
    chain = Chain(6, page=2, length=length)
    pages = BlockPages(chain)
    assert [each.height for each in pages.iterate(1)] == [1, 2, 3, 4, 5, 6]
    assert sorted(chain.asked) == [1, 3, 5, 7]
    pages.close()


class Answering:
    """A client whose writer answers what it is told to."""

    def __init__(self, answer) -> None:
        self.given = answer

    def ask(self, _member, _act, _body, *, answer, timeout_s=0.0):
        assert isinstance(self.given, answer)
        return self.given


@pytest.mark.parametrize(
    ("answer", "act"),
    [
        (
            acts.BlockPage(blocks=[acts.WireBlock.of(block(2))]),
            lambda ledger: next(ledger.blocks(from_height=1)),
        ),
        (
            acts.BlockPage(blocks=[acts.WireBlock.of(block(1)), acts.WireBlock.of(block(1))]),
            lambda ledger: next(ledger.blocks(from_height=1)),
        ),
        (acts.Sizes(sizes=[2, 1]), lambda ledger: ledger.epoch_sizes()),
        (acts.Sizes(sizes=[2, 2]), lambda ledger: ledger.epoch_sizes()),
        (acts.SignedNote(note=b"no note"), lambda ledger: ledger.checkpoint()),
        (
            acts.Results(results=[acts.Placed(index=1, height=1, time_ms=1)] * 2, blocks=[], note=b""),
            lambda ledger: ledger.submit(b"one").result(timeout=PATIENCE_S),
        ),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(answer, act):
    """[PEER-5]"""
    ledger = HttpLedger(Answering(answer), writer="bureau")
    with pytest.raises(Unavailable, match=r"peer\.answer_malformed"):
        act(ledger)
    ledger.close()


def test_what_is_handed_in_alone_brings_its_block_and_that_is_used_once():
    """[PEER-8]"""
    asked = []

    class Writer:
        def __init__(self) -> None:
            self.blocks = [block(1), block(2)]

        def ask(self, _member, act, body, *, answer, timeout_s=0.0):
            asked.append((act, getattr(body, "from_height", None)))
            page = [acts.WireBlock.of(each) for each in self.blocks if each.height >= (body.from_height or 99)]
            if act is Act.BLOCKS:
                return answer(blocks=page)
            if act is Act.FOLLOW:
                return answer(blocks=page, note=NOTE)
            return answer(results=[acts.Placed(index=1, height=2, time_ms=3)], blocks=page, note=NOTE)

    writer = Writer()
    ledger = HttpLedger(writer, writer="bureau")
    # Who has read nothing yet is brought nothing.
    ledger.submit(b"zero").result(timeout=PATIENCE_S)
    assert [each.height for each in ledger.blocks(from_height=1)] == [1, 2]
    writer.blocks = [*writer.blocks, block(3)]
    ledger.submit(b"one").result(timeout=PATIENCE_S)
    asked_before = len(asked)
    assert ledger.checkpoint().note == NOTE
    assert next(ledger.blocks(from_height=3)) == block(3)
    assert asked[asked_before:] == []
    # What was brought once is used once, and not by who read on meanwhile.
    ledger.checkpoint()
    assert asked[-1] == (Act.FOLLOW, 4)
    writer.blocks = [*writer.blocks, block(4)]
    ledger.submit(b"two").result(timeout=PATIENCE_S)
    assert [each.height for each in ledger.blocks(from_height=4)] == [4]
    ledger.checkpoint()
    assert asked[-1] == (Act.FOLLOW, 5)
    assert [height for act, height in asked if act is Act.SUBMIT] == [0, 3, 4]
    ledger.close()


def test_epochs_without_end_are_read_to_a_bound():
    class Endless:
        def __init__(self) -> None:
            self.asked = 0

        def ask(self, _member, _act, body, *, answer, timeout_s=0.0):
            self.asked += 1
            return answer(sizes=list(range(body.size + 1, body.size + 1 + acts.EPOCH_PAGE)))

    client = Endless()
    ledger = HttpLedger(client, writer="bureau")
    assert len(ledger.epoch_sizes()) == 64 * acts.EPOCH_PAGE
    assert client.asked == 64
    ledger.close()


def test_news_wake_the_follower_and_failures_rest():
    heights = iter([0, 5, 5, 6])
    told = threading.Event()
    count = []

    class Newsy:
        def ask(self, _member, _act, body, *, answer, timeout_s=0.0):
            try:
                height = next(heights)
            except StopIteration:
                raise Unavailable("client.unreachable", "away") from None
            return answer(height=height)

    def listen(_block, _events):
        count.append(1)
        if len(count) == 2:
            told.set()

    ledger = HttpLedger(Newsy(), writer="bureau")
    ledger.subscribe(listen)
    assert told.wait(PATIENCE_S)
    ledger.close()


def test_errors_of_the_product_alone_leave_a_way_that_is_closed():
    ledger = HttpLedger(Answering(acts.Nothing()), writer="bureau")
    ledger.close()
    with pytest.raises(ShuiqiaoError, match=r"ledger\.closed"):
        ledger.submit(b"x").result(timeout=PATIENCE_S)
