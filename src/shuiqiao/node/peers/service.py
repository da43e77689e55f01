"""What a member does for others: takes in their signed messages and answers each by the act that it asks for [PEER-3].

It decides nothing of the field: the ledger engine, the witness, the provider, the consent file and the openings of this
member do, as they do for its own commands. What is asked rests on a block that the asking side names; this member first
comes to hold it, for no longer than its engine waits.

Nobody can make it wait for ever. How many acts of one sender are at work at a time is for the door that calls it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Denied, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.ledger.witness.request import decode_request
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import decode_wire, encode_wire
from shuiqiao.node.peers.message import Act, MessageVerifier, PeerMessage, decode_act

if TYPE_CHECKING:
    from concurrent.futures import Future

    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import CipherSuite, SealingKey
    from shuiqiao.ledger.engine.port import LedgerPeer
    from shuiqiao.ledger.model import Block, Committed, Event, LedgerEngine
    from shuiqiao.ledger.witness.cosigning import WitnessPeer

COMMIT_TIMEOUT_S: Final = 30.0
"""How long a message with transactions waits for their blocks, in seconds; they may still be committed after it."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What this member does for others; None for what another role does.

    writer: its engine, where it orders transactions. answer: of a provider, to a request message. file_artefact: at a
    bank, of an artefact's bytes. relay: of what an enterprise signed. receive_opening: at a regulator, of application,
    bank and sealed bytes. receive_model: at a provider, of a model, what opens its commitment, and who sends it.
    tell_account: at a bureau, of a taxpayer, the question as it was sealed, and who asks. open_link: at a bureau or a
    bank, of a bank's end of a link, and whose it is. show_evidence: at a bank or a bureau, of the request that a joint
    computation answered, and who asks. state_exposures: at a bank, of another one's question, and whose.
    open_manifest: at a bureau, of a request that was answered without records, and who asks. train: at a bureau or a
    regulator, of a transaction, the plan, and the bank that proposes.
    """

    writer: LedgerPeer | None = None
    witness: WitnessPeer | None = None
    answer: Callable[[bytes], bytes] | None = None
    file_artefact: Callable[[bytes], object] | None = None
    relay: Callable[[bytes], Committed] | None = None
    receive_opening: Callable[[bytes, MemberId, bytes], None] | None = None
    receive_model: Callable[[OwnedId, bytes, MemberId], None] | None = None
    tell_account: Callable[[bytes, bytes, MemberId], bytes] | None = None
    open_link: Callable[[acts.SecureOpening, MemberId], bytes] | None = None
    show_evidence: Callable[[OwnedId, MemberId], bytes] | None = None
    state_exposures: Callable[[bytes, MemberId], bytes] | None = None
    open_manifest: Callable[[OwnedId, MemberId], bytes] | None = None
    train: Callable[[bytes, bytes, MemberId], acts.TrainingSigned] | None = None


class PeerService:
    """The receiving side of all that crosses between members.

    Example::

        service = PeerService(engine=engine, served=Served(writer=engine), ...)
        message = service.receive("ledger.checkpoint", body_of_the_http_request)
        answer = service.perform(message)
    """

    def __init__(
        self,
        *,
        engine: LedgerEngine,
        served: Served,
        member: MemberId,
        suite: CipherSuite,
        clock: Clock,
        sealing_key: SealingKey,
    ) -> None:
        """sealing_key: opens what is sealed to this member."""
        self._engine = engine
        self._served = served
        self._member = member
        self._suite = suite
        self._sealing_key = sealing_key
        self._network = engine.parameters.network
        self._verifier = MessageVerifier(member=member, network=self._network, suite=suite, clock=clock)
        self._news = BlockNews(engine)
        self._acts: dict[Act, Callable[[PeerMessage], msgspec.Struct]] = {
            Act.SUBMIT: self._submit,
            Act.BLOCKS: self._blocks,
            Act.FOLLOW: self._follow,
            Act.CHECKPOINT: self._checkpoint,
            Act.CONFIRMED: self._confirmed,
            Act.NEWEST_CONFIRMED: self._newest_confirmed,
            Act.EPOCHS: self._epochs,
            Act.EPOCH_NOTE: self._epoch_note,
            Act.CONSISTENCY: self._consistency,
            Act.NEWS: self._wait_for_news,
            Act.WITNESSED_SIZE: self._witnessed_size,
            Act.COSIGN: self._cosign,
            Act.ASK: self._ask,
            Act.ARTEFACT: self._artefact,
            Act.RELAY: self._relay,
            Act.OPENING: self._opening,
            Act.OFFER: self._offer,
            Act.LEAKAGE: self._leakage,
            Act.SECURE_OPEN: self._open_link,
            Act.EVIDENCE: self._evidence,
            Act.EXPOSURE: self._state_exposures,
            Act.MANIFEST: self._manifest,
            Act.TRAIN: self._train,
        }

    def receive(self, act: str, raw: bytes) -> PeerMessage:
        """Return a message that came in under the name of an act: its sender is a member, and sent it now and once.

        Raises InvalidInput ``peer.act_unknown``, what ``MessageVerifier.verify`` raises.
        """
        return self._verifier.verify(raw, act=decode_act(act), state=self._engine.state())

    def perform(self, message: PeerMessage) -> bytes:
        """Return the answer to a message that was received.

        Raises InvalidInput ``peer.body_malformed``; Denied ``peer.act_not_served``; what the act is refused with.
        """
        return encode_wire(self._acts[Act(message.act)](message))

    def differing_clocks(self) -> dict[MemberId, str]:
        """Return in words whose messages are refused for their time just now."""
        return self._verifier.differing_clocks()

    def close(self) -> None:
        """Let go who waits for news."""
        self._news.close()

    # The ledger

    def _writer(self, message: PeerMessage) -> LedgerPeer:
        return _served(self._served.writer, message)

    def _submit(self, message: PeerMessage) -> acts.Results:
        writer = self._writer(message)
        asked = _decode(message, acts.Submitted)
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        futures = [writer.submit(raw) for raw in asked.transactions]
        results = [_result(future, deadline=deadline) for future in futures]
        if not asked.from_height:
            return acts.Results(results=results, blocks=[], note=b"")
        blocks = _blocks_of(writer, asked.from_height, most_bytes=acts.BROUGHT_BYTES, most_blocks=acts.BROUGHT_BLOCKS)
        if sum(map(_transaction_bytes, blocks)) > acts.BROUGHT_BYTES:
            blocks.pop()
        return acts.Results(results=results, blocks=blocks, note=writer.checkpoint().note)

    def _blocks(self, message: PeerMessage) -> acts.BlockPage:
        return acts.BlockPage(blocks=_page(self._writer(message), _decode(message, acts.FromHeight)))

    def _follow(self, message: PeerMessage) -> acts.Followed:
        writer = self._writer(message)
        # The checkpoint comes second, so that it covers every block of the page.
        blocks = _page(writer, _decode(message, acts.FromHeight))
        return acts.Followed(blocks=blocks, note=writer.checkpoint().note)

    def _checkpoint(self, message: PeerMessage) -> acts.SignedNote:
        writer = self._writer(message)
        _decode(message, acts.Nothing)
        return acts.SignedNote(note=writer.checkpoint().note)

    def _confirmed(self, message: PeerMessage) -> acts.SignedNote:
        writer = self._writer(message)
        _decode(message, acts.Nothing)
        return acts.SignedNote(note=writer.confirmed().note)

    def _newest_confirmed(self, message: PeerMessage) -> acts.SignedNote:
        writer = self._writer(message)
        _decode(message, acts.Nothing)
        found = writer.newest_confirmed()
        return acts.SignedNote(note=b"" if found is None else found.note)

    def _epochs(self, message: PeerMessage) -> acts.Sizes:
        writer, above = self._writer(message), _decode(message, acts.OfSize).size
        return acts.Sizes(sizes=[size for size in writer.epoch_sizes() if size > above][: acts.EPOCH_PAGE])

    def _epoch_note(self, message: PeerMessage) -> acts.SignedNote:
        return acts.SignedNote(note=self._writer(message).epoch_note(_decode(message, acts.OfSize).size))

    def _consistency(self, message: PeerMessage) -> acts.Path:
        asked = _decode(message, acts.TwoSizes)
        path = self._writer(message).consistency_proof(old_size=asked.old_size, new_size=asked.new_size)
        return acts.Path(path=list(path))

    def _wait_for_news(self, message: PeerMessage) -> acts.Height:
        self._writer(message)
        asked = _decode(message, acts.AfterHeight)
        return acts.Height(height=self._news.wait(above=asked.height, timeout_s=asked.wait_ms / 1000))

    # Witnesses

    def _witnessed_size(self, message: PeerMessage) -> acts.OfSize:
        witness = _served(self._served.witness, message)
        return acts.OfSize(size=witness.witnessed_size(_decode(message, acts.OfOrigin).origin))

    def _cosign(self, message: PeerMessage) -> acts.Line:
        witness = _served(self._served.witness, message)
        asked = decode_request(message.body)
        return acts.Line(line=witness.cosign(asked.note, old_size=asked.old_size, proof=asked.proof))

    # The exchange and what follows from it

    def _ask(self, message: PeerMessage) -> acts.Answered:
        answer = _served(self._served.answer, message)
        asked = _decode(message, acts.Asked)
        self._engine.wait_for_block(asked.height)
        found = answer(asked.message)
        return acts.Answered(answer=found, height=self._engine.last_block()[0])

    def _artefact(self, message: PeerMessage) -> acts.Nothing:
        file_artefact = _served(self._served.file_artefact, message)
        handed = _decode(message, acts.Artefact)
        artefact = self._opened(message, handed.sealed)
        self._engine.wait_for_block(handed.height)
        file_artefact(artefact)
        return acts.Nothing()

    def _opened(self, message: PeerMessage, sealed: bytes) -> bytes:
        bound = sealed_to(message, network=self._network)
        return self._sealing_key.open_sealed(sealed, associated_data=bound)

    def _relay(self, message: PeerMessage) -> acts.Placed:
        relay = _served(self._served.relay, message)
        return acts.Placed.of(relay(_decode(message, acts.Relayed).transaction))

    def _opening(self, message: PeerMessage) -> acts.Nothing:
        receive = _served(self._served.receive_opening, message)
        handed = _decode(message, acts.Opening)
        self._engine.wait_for_block(handed.height)
        receive(handed.application, MemberId(message.sender), handed.sealed)
        return acts.Nothing()

    def _offer(self, message: PeerMessage) -> acts.Nothing:
        receive = _served(self._served.receive_model, message)
        handed = _decode(message, acts.Offer)
        opened = self._opened(message, handed.sealed)
        self._engine.wait_for_block(handed.height)
        receive(OwnedId(handed.model), opened, MemberId(message.sender))
        return acts.Nothing()

    def _leakage(self, message: PeerMessage) -> acts.SealedAnswer:
        tell = _served(self._served.tell_account, message)
        sealed = _decode(message, acts.SealedQuestion).sealed
        return acts.SealedAnswer(sealed=tell(self._opened(message, sealed), sealed, MemberId(message.sender)))

    def _open_link(self, message: PeerMessage) -> acts.SecureOpened:
        open_link = _served(self._served.open_link, message)
        asked = _decode(message, acts.SecureOpening)
        return acts.SecureOpened(statement=open_link(asked, MemberId(message.sender)))

    def _evidence(self, message: PeerMessage) -> acts.EvidenceShown:
        show = _served(self._served.show_evidence, message)
        asked = _decode(message, acts.EvidenceQuestion)
        return acts.EvidenceShown(file=show(OwnedId(asked.request), MemberId(message.sender)))

    def _state_exposures(self, message: PeerMessage) -> acts.ExposureStated:
        state_exposures = _served(self._served.state_exposures, message)
        asked = _decode(message, acts.ExposureAsked)
        self._engine.wait_for_block(asked.height)
        return acts.ExposureStated(statement=state_exposures(asked.question, MemberId(message.sender)))

    def _manifest(self, message: PeerMessage) -> acts.ManifestOpened:
        tell = _served(self._served.open_manifest, message)
        asked = _decode(message, acts.OpeningQuestion)
        return acts.ManifestOpened(sealed=tell(OwnedId(asked.request), MemberId(message.sender)))

    def _train(self, message: PeerMessage) -> acts.TrainingSigned:
        train = _served(self._served.train, message)
        handed = _decode(message, acts.TrainingProposed)
        opened = self._opened(message, handed.sealed)
        self._engine.wait_for_block(handed.height)
        return train(handed.transaction, opened, MemberId(message.sender))


class BlockNews:
    """Tells how far the ledger is, as soon as it is further than somebody knew."""

    def __init__(self, engine: LedgerEngine) -> None:
        self._engine = engine
        self._condition = threading.Condition()
        self._is_closed = False
        engine.subscribe(self._on_block)

    def wait(self, *, above: int, timeout_s: float) -> int:
        """Return the height of the newest block once it is above one, or after the time."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed or self._height() > above, timeout=timeout_s)
        return self._height()

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _height(self) -> int:
        return self._engine.last_block()[0]

    def _on_block(self, _block: Block, _events: Sequence[Event]) -> None:
        with self._condition:
            self._condition.notify_all()


def _page(writer: LedgerPeer, asked: acts.FromHeight) -> list[acts.WireBlock]:
    return _blocks_of(writer, asked.from_height, most_bytes=acts.PAGE_BYTES, most_blocks=acts.PAGE_BLOCKS)


def _blocks_of(writer: LedgerPeer, from_height: int, *, most_bytes: int, most_blocks: int) -> list[acts.WireBlock]:
    page: list[acts.WireBlock] = []
    size = 0
    for block in writer.blocks(from_height=from_height):
        page.append(acts.WireBlock.of(block))
        size += _transaction_bytes(block)
        if size >= most_bytes or len(page) == most_blocks:
            break
    return page


def _transaction_bytes(block: Block | acts.WireBlock) -> int:
    return sum(map(len, block.transactions))


def sealed_to(message: PeerMessage, *, network: bytes) -> bytes:
    """Return what is bound to a seal within a message: who sends what to whom [PEER-7]."""
    return seal_binding(Act(message.act), sender=message.sender, receiver=message.receiver, network=network)


def seal_binding(act: Act, *, sender: str, receiver: str, network: bytes) -> bytes:
    """Return the associated data of what is sealed within a message."""
    return encode_cbor({"act": act.value, "sender": sender, "network": network, "receiver": receiver})


def _decode(message: PeerMessage, kind: type[acts.Wire]) -> acts.Wire:
    return decode_wire(message.body, kind, max_bytes=len(message.body))


def _served(part: _Part | None, message: PeerMessage) -> _Part:
    if part is None:
        raise Denied("peer.act_not_served", f"{message.receiver} does not do {message.act} for others")
    return part


def _result(future: Future[Committed], *, deadline: float) -> acts.Placed | acts.Refused:
    try:
        return acts.Placed.of(future.result(timeout=max(0.0, deadline - time.monotonic())))
    except ShuiqiaoError as error:
        # The future has it, and this call the future.
        let_go_of_calls(error)
        return acts.Refused.of(error)
    except TimeoutError:
        late = Unavailable(
            "ledger.commit_late",
            f"no block within {COMMIT_TIMEOUT_S:g} s; the transaction may still be committed",
            retry_after_s=COMMIT_TIMEOUT_S,
        )
        return acts.Refused.of(late)
