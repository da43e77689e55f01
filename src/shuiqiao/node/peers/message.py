"""The signed message in which one member asks another one something, and all that is checked before it is answered.

::

    peer message = document "node.peer_message/1" = {"act", "body", "made_ms", "nonce", "receiver", "sender"}
                   signed by the sender's signing key of today                          [PEER-1]

It is bound to the network (as every document is), to the receiver, to what is asked, and to a moment. The checks come
in one order, the cheap ones first, and each has a code [PEER-2]:

1. size, 2. form, 3. network, 4. receiver, 5. act, 6. time, 7. the sender is a member, 8. and not suspended,
9. signature, 10. not seen before.

What the body says is not looked at here; ``service`` does what is asked.

LIMIT: what was seen is forgotten when the process ends, or when the clock is set back, so a message may be handed in
again within its 120 seconds then. Every act may be: the ledger takes a transaction once, an answer is given again
unchanged, and what was filed stays.

LIMIT: an old message that somebody hands in again looks like one of a clock that is behind, until the next message of
that member; it is refused all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, new_id
from shuiqiao.base.wire import CalendarMs, Id, MemberName
from shuiqiao.client import request_id
from shuiqiao.exchange.cohorts import MAX_PROPOSAL_BYTES
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.transactions.document import decode_document, sign_document, verify_document
from shuiqiao.members.roster import is_suspended, may_vote, member_key, signing_key
from shuiqiao.models.model import MAX_CONTENT_BYTES

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.document import Document

PEER_MESSAGE: Final = "node.peer_message/1"

CLOCK_DIFFERS: Final = "peer.clock_differs"

DIFFERS_KEPT_MS: Final = 3 * 60_000
"""How long a refusal for its time is told of a member that asks nothing any more, in milliseconds."""

MAX_CLOCK_MS: Final = 120_000
"""How far the moment in a message may be from the receiver's own time, either way, in milliseconds."""

MAX_SUBMITTED: Final = 64
"""Transactions in one message."""

_ENVELOPE_BYTES: Final = 1_024
"""More than envelope, signature and the other fields of a message add to its body."""

_SMALL_BYTES: Final = 65_536
_MAX_BODY_BYTES: Final = MAX_SUBMITTED * (MAX_TRANSACTION_BYTES + 8) + 64

MAX_NONCES: Final = 1 << 17
"""Messages of one member that are remembered at a time, about 14 MiB: 500 a second for as long as they count."""

_SLOT_MS: Final = 30_000


class Act(StrEnum):
    """What one member may ask another one for [PEER-4]."""

    SUBMIT = "ledger.submit"
    BLOCKS = "ledger.blocks"
    FOLLOW = "ledger.follow"
    CHECKPOINT = "ledger.checkpoint"
    CONFIRMED = "ledger.confirmed"
    NEWEST_CONFIRMED = "ledger.newest_confirmed"
    EPOCHS = "ledger.epochs"
    EPOCH_NOTE = "ledger.epoch_note"
    CONSISTENCY = "ledger.consistency"
    NEWS = "ledger.news"
    WITNESSED_SIZE = "witness.size"
    COSIGN = "witness.cosign"
    ASK = "exchange.ask"
    ARTEFACT = "consent.artefact"
    RELAY = "consent.relay"
    OPENING = "lending.opening"
    OFFER = "models.offer"
    LEAKAGE = "usage.leakage"
    SECURE_OPEN = "secure.open"
    EVIDENCE = "computation.evidence"
    EXPOSURE = "lending.exposure"
    MANIFEST = "exchange.opening"
    TRAIN = "training.agree"

    @property
    def max_message_bytes(self) -> int:
        """Longest message that asks for it."""
        return _MAX_BODIES.get(self, _SMALL_BYTES) + _ENVELOPE_BYTES

    @property
    def is_for_voters(self) -> bool:
        """Whether a member asks for it that is suspended for a time: such a one keeps its vote [MEMBER-4]."""
        return self.value.startswith("ledger.")


_MAX_BODIES: Final = {
    Act.SUBMIT: _MAX_BODY_BYTES,
    Act.OFFER: MAX_CONTENT_BYTES + _SMALL_BYTES,
    Act.TRAIN: MAX_PROPOSAL_BYTES + MAX_TRANSACTION_BYTES + _SMALL_BYTES,
}


def decode_act(name: str) -> Act:
    """Return the act of a name; raises InvalidInput ``peer.act_unknown``."""
    try:
        return Act(name)
    except ValueError as error:
        raise InvalidInput("peer.act_unknown", f"{name[:40]!r} is nothing that one member asks another one") from error


class PeerMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one member asks of another one, at one moment, once."""

    act: Annotated[str, Meta(max_length=32)]
    sender: MemberName
    receiver: MemberName
    made_ms: CalendarMs
    nonce: Id
    body: Annotated[bytes, Meta(max_length=max(_MAX_BODIES.values()))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSigner:
    """Signs what one member asks of others.

    keys: its signing key of today; behind it others that it holds, of which the ledger may name one by now.
    """

    member: MemberId
    network: bytes
    suite: CipherSuite
    keys: Sequence[SigningKey]
    clock: Clock
    entropy: Entropy

    def sign(self, body: bytes, *, act: Act, receiver: MemberId, key: SigningKey | None = None) -> bytes:
        """Return a fresh message. key: which of the keys signs, None for the first."""
        message = PeerMessage(
            act=act.value,
            sender=self.member,
            receiver=receiver,
            made_ms=self.clock.now_ms(),
            nonce=new_id(self.entropy),
            body=body,
        )
        keys = (key or self.keys[0],)
        return sign_document(message, name=PEER_MESSAGE, network=self.network, suite=self.suite, keys=keys)


class MessageVerifier:
    """Takes in the messages to one member, each once; safe between threads.

    Example::

        message = verifier.verify(raw, act=Act.CHECKPOINT, state=engine.state())
        message.sender  # is a member that may ask, and did so now
    """

    def __init__(self, *, member: MemberId, network: bytes, suite: CipherSuite, clock: Clock) -> None:
        self._member = member
        self._network = network
        self._suite = suite
        self._clock = clock
        self._seen = ReplayWindow(now_ms=clock.now_ms)
        self._lock = threading.Lock()
        self._differing: dict[MemberId, tuple[int, str]] = {}

    def differing_clocks(self) -> dict[MemberId, str]:
        """Return in words whose messages were refused lately for their time, and none taken in since."""
        since_ms = self._clock.now_ms() - DIFFERS_KEPT_MS
        with self._lock:
            return {sender: says for sender, (seen_ms, says) in self._differing.items() if seen_ms >= since_ms}

    def verify(self, raw: bytes, *, act: Act, state: StateView) -> PeerMessage:
        """Return the message in outside bytes, every check of [PEER-2] having held.

        Raises InvalidInput ``peer.message_too_large``, ``peer.act_differs``, what ``decode_document`` raises; Denied
        ``peer.receiver_wrong``, ``peer.clock_differs``, ``peer.sender_unknown``, ``peer.sender_suspended``;
        IntegrityError ``ledger.document_signers_wrong``, ``crypto.signature_invalid``; Conflict ``peer.replayed``,
        Unavailable ``peer.busy``.
        """
        if len(raw) > act.max_message_bytes:
            raise InvalidInput(
                "peer.message_too_large", f"{len(raw)} bytes ask for {act}, where {act.max_message_bytes} are allowed"
            )
        document = decode_document(
            raw,
            PeerMessage,
            name=PEER_MESSAGE,
            network=self._network,
            suite=self._suite,
            max_bytes=act.max_message_bytes,
        )
        message = document.body
        # Who sends it is what it says of itself, until its signature is verified.
        request_id.note(peer=message.sender)
        self._require_meant(message, act=act)
        sender = MemberId(message.sender)
        differs = self._clock_differs(message)
        if differs is not None:
            # Anybody can name a member and a time: only what the member signed says something of its clock.
            with suppress(ShuiqiaoError):
                _require_signed(document, act=act, state=state, suite=self._suite)
                self._note(sender, differs.message)
            raise differs
        _require_signed(document, act=act, state=state, suite=self._suite)
        self._seen.add(sender, message.nonce, made_ms=message.made_ms)
        self._note(sender, "")
        return message

    def _note(self, sender: MemberId, differs: str) -> None:
        if differs or sender in self._differing:
            with self._lock:
                self._differing.pop(sender, None)
                if differs:
                    self._differing[sender] = (self._clock.now_ms(), differs)

    def _require_meant(self, message: PeerMessage, *, act: Act) -> None:
        if message.receiver != self._member:
            raise Denied(
                "peer.receiver_wrong",
                f"a message of {message.sender} to {message.receiver} came to {self._member}",
            )
        if message.act != act:
            raise InvalidInput("peer.act_differs", f"a message that asks for {message.act!r} came in as {act}")

    def _clock_differs(self, message: PeerMessage) -> Denied | None:
        now_ms = self._clock.now_ms()
        apart_ms = abs(message.made_ms - now_ms)
        if apart_ms <= MAX_CLOCK_MS:
            return None
        return Denied(
            CLOCK_DIFFERS,
            f"{message.sender} made the message at {iso_from_ms(message.made_ms)}, at {self._member} it is "
            f"{iso_from_ms(now_ms)}: {apart_ms // 1000} s apart where {MAX_CLOCK_MS // 1000} are allowed",
        )


def _require_signed(document: Document[PeerMessage], *, act: Act, state: StateView, suite: CipherSuite) -> None:
    sender = MemberId(document.body.sender)
    _require_may_ask(sender, act=act, state=state)
    verify_document(document, public_keys=(signing_key(state, sender),), suite=suite)


def _require_may_ask(sender: MemberId, *, act: Act, state: StateView) -> None:
    if state.get(member_key(sender)) is None:
        raise Denied("peer.sender_unknown", f"{sender} is no member by this member's copy of the ledger")
    if is_suspended(state, sender) and not (act.is_for_voters and may_vote(state, sender)):
        raise Denied("peer.sender_suspended", f"{sender} is suspended, and asks for {act}")


class ReplayWindow:
    """The nonces of the messages that would still count, by sender; bounded for each, so nobody fills another's."""

    def __init__(self, *, now_ms: Callable[[], int], max_nonces: int = MAX_NONCES) -> None:
        self._now_ms = now_ms
        self._max_nonces = max_nonces
        self._lock = threading.Lock()
        self._seen: dict[MemberId, dict[int, set[bytes]]] = {}

    def add(self, sender: MemberId, nonce: bytes, *, made_ms: int) -> None:
        """Remember a nonce; raises Conflict ``peer.replayed`` for one that is known, Unavailable ``peer.busy``."""
        slot, first = made_ms // _SLOT_MS, (self._now_ms() - MAX_CLOCK_MS) // _SLOT_MS
        with self._lock:
            slots = {each: known for each, known in self._seen.get(sender, {}).items() if each >= first}
            self._seen[sender] = slots
            known = slots.setdefault(slot, set())
            if nonce in known:
                raise Conflict("peer.replayed", f"message {nonce.hex()} of {sender} was taken in already")
            if sum(map(len, slots.values())) >= self._max_nonces:
                raise Unavailable(
                    "peer.busy",
                    f"{sender} sent {self._max_nonces} messages within {2 * MAX_CLOCK_MS // 1000} s, as many as count",
                    retry_after_s=_SLOT_MS / 1000,
                )
            known.add(nonce)
