"""What crosses between institutions besides the ledger: requests, answers, artefacts, openings, relays, models.

Each act rests on something that stands on the ledger, so each side names the block that the other side's copy has to
hold before it acts [PEER-10]. An artefact names a taxpayer, and a model is its owner's: each is sealed to the member it
is for, bound to who sends it to whom [PEER-7]; an opening is sealed already.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.consent.artefact import decode_artefact
from shuiqiao.ledger.transactions.entry_delay import ENTRY_WAITS
from shuiqiao.members.roster import member_record
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import encode_wire
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.service import seal_binding

if TYPE_CHECKING:
    from shuiqiao.consent.model import ConsentSubmission
    from shuiqiao.consent.service import ConsentService, GrantedConsent
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.node.peers.asking import PeerClient
    from shuiqiao.node.peers.delivery import Deliveries

ANSWER_TIMEOUT_S: Final = 120.0
"""How long a provider may take to read its vault and to send an answer of 63 MiB, in seconds."""

UNTIL_GRANTED_MS: Final = 10_000
"""How long an artefact waits for its grant before it is sent anyway: after a crash in between."""

_ATTEMPTS: Final = 5
_MAX_PAUSE_S: Final = 2.0


class HttpProvider:
    """The way to a provider and back, for ``Recipient.obtain``.

    Example::

        received = bank.recipient.obtain(wanted, provider=HttpProvider(client, provider=bureau, engine=engine))
    """

    def __init__(self, client: PeerClient, *, provider: MemberId, engine: LedgerEngine) -> None:
        self._client = client
        self._provider = provider
        self._engine = engine

    def ask(self, message: bytes) -> bytes:
        """Return the provider's answer to a request, both copies of the ledger holding what it rests on.

        A provider that is not as far yet, or at work on it, is asked again a few times. Raises what it refuses with,
        and what ``PeerClient.ask`` and ``wait_for_block`` raise; the same message may be sent again later.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = self._ask(message)
            except Unavailable as error:
                if attempt == _ATTEMPTS or error.retry_after_s is None or error.retry_after_s > _MAX_PAUSE_S:
                    raise
                time.sleep(error.retry_after_s)
            else:
                self._engine.wait_for_block(found.height)
                return found.answer
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    def _ask(self, message: bytes) -> acts.Answered:
        asked = acts.Asked(message=message, height=self._engine.last_block()[0])
        return self._client.ask(self._provider, Act.ASK, asked, answer=acts.Answered, timeout_s=ANSWER_TIMEOUT_S)


def artefact_body(
    artefact: bytes, *, sender: MemberId, bank: MemberId, engine: LedgerEngine, suite: CipherSuite
) -> bytes:
    """Return what hands an artefact to the bank that it names; raises Denied ``members.unknown``."""
    sealed = _sealed(artefact, act=Act.ARTEFACT, sender=sender, receiver=bank, engine=engine, suite=suite)
    return encode_wire(acts.Artefact(sealed=sealed, height=engine.last_block()[0]))


def offer_body(
    model: OwnedId, handed: bytes, *, sender: MemberId, provider: MemberId, engine: LedgerEngine, suite: CipherSuite
) -> bytes:
    """Return what hands a registered model's content to a provider; raises Denied ``members.unknown``."""
    sealed = _sealed(handed, act=Act.OFFER, sender=sender, receiver=provider, engine=engine, suite=suite)
    return encode_wire(acts.Offer(model=model, sealed=sealed, height=engine.last_block()[0]))


def _sealed(
    content: bytes, *, act: Act, sender: MemberId, receiver: MemberId, engine: LedgerEngine, suite: CipherSuite
) -> bytes:
    return suite.seal(
        content,
        recipient=member_record(engine.state(), receiver)["seal"],
        associated_data=seal_binding(act, sender=sender, receiver=receiver, network=engine.parameters.network),
    )


def take_in_consent(
    submission: ConsentSubmission, *, consents: ConsentService, deliveries: Deliveries, link: BureauSide
) -> GrantedConsent:
    """Take in an enterprise's consent at its bureau, and see to it that the bank it names gets the artefact.

    1. keep the artefact for the bank; 2. put the grant on the ledger; 3. send the artefact with the grant's block in
    the place of what was kept first. So a crash in between loses nothing: what was kept is sent after a while, and is
    refused and tried again until the grant is there; twice is once. Raises what ``ConsentService.receive`` raises; what
    is refused for good, or is kept back, is not handed on.
    """
    artefact = decode_artefact(submission.artefact, network=link.engine.parameters.network, suite=link.suite)
    bank = MemberId(artefact.recipient)

    def body() -> bytes:
        return artefact_body(submission.artefact, sender=link.member, bank=bank, engine=link.engine, suite=link.suite)

    kept = deliveries.send(bank, Act.ARTEFACT, body(), pause_ms=UNTIL_GRANTED_MS)
    try:
        granted = consents.receive(submission)
    except ShuiqiaoError as error:
        # Of one that is kept back this is done again; otherwise the grant may still come to be on the ledger.
        if error.code == ENTRY_WAITS or not isinstance(error, Unavailable):
            deliveries.abandon(kept)
        raise
    deliveries.send(bank, Act.ARTEFACT, body(), instead_of=kept)
    return granted


@dataclass(frozen=True, slots=True, kw_only=True)
class BureauSide:
    """In whose name, and by which copy of the ledger, a bureau hands something on."""

    member: MemberId
    engine: LedgerEngine
    suite: CipherSuite


def opening_body(application: bytes, sealed: bytes, *, engine: LedgerEngine) -> bytes:
    """Return what hands a decision's sealed opening to the regulator that it names."""
    return encode_wire(acts.Opening(application=application, sealed=sealed, height=engine.last_block()[0]))


def opened_application(body: bytes) -> bytes:
    """Return whose opening such a body holds."""
    return acts.decode_wire(body, acts.Opening, max_bytes=Act.OPENING.max_message_bytes).application


def relay_body(transaction: bytes) -> bytes:
    """Return what hands on what an enterprise signed."""
    return encode_wire(acts.Relayed(transaction=transaction))
