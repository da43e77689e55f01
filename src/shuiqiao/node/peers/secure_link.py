"""A bank opens a link to a bureau over which both compute: each signs a certificate for the other with its member key.

The bank's half is its peer message [PEER-1]; the bureau's is a statement that answers this very message. Both name each
other, the network and the session, so a certificate stands for one member towards another one, for one link, now
[SECURE-16], [SECURE-17]. The bureau alone listens; the bank dials it at the host where it is reached as a member, so no
bureau makes a bank's server call somebody else.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Denied, IntegrityError, Unavailable
from shuiqiao.base.wire import CalendarMs, Digest, MemberName
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role, verify_signed_by
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import encode_wire
from shuiqiao.node.peers.message import Act
from shuiqiao.privacy.secure.model import SecureOffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.base.ids import MemberId
    from shuiqiao.client.connection import Address
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.node.peers.asking import PeerClient
    from shuiqiao.node.peers.directory import Reach
    from shuiqiao.privacy.secure.links import SecureLinks

OFFER_STATEMENT: Final = "node.secure_offer/1"


class OfferStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bureau signs of its end of a link. question: the digest of the bank's offer, as it came."""

    bureau: MemberName
    bank: MemberName
    question: Digest
    session: acts.SecureSession
    certificate: acts.SecureCertificate
    address: Annotated[str, Meta(min_length=3, max_length=acts.MAX_ADDRESS_CHARS)]
    configuration: acts.SecureConfiguration
    made_ms: CalendarMs


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSide:
    """In whose name, by which copy of the ledger and over which links a member computes with others."""

    member: MemberId
    engine: LedgerEngine
    suite: CipherSuite
    links: SecureLinks

    @property
    def network(self) -> bytes:
        """The id of the network."""
        return self.engine.parameters.network


def open_link(bureau: MemberId, *, client: PeerClient, side: LinkSide) -> None:
    """Open the link from this bank to a bureau, warm when this returns.

    Raises IntegrityError ``privacy.secure_offer_differs``, ``ledger.document_signers_wrong``, Denied
    ``privacy.secure_address_refused``, what ``PeerClient.ask`` and ``SecureLinks`` raise.

    Example::

        open_link(bureau, client=client, side=side)
        side.links.run(bureau, function, weights, binding=binding)
    """
    reach, offer = client.directory.find(bureau), side.links.offer(bureau)
    try:
        asked = acts.SecureOpening(
            session=offer.session, certificate=offer.certificate, configuration=offer.configuration
        )
        told = client.ask(bureau, Act.SECURE_OPEN, asked, answer=acts.SecureOpened)
        found = _verified(told.statement, bureau=bureau, asked=asked, side=side)
        side.links.connect(
            bureau,
            SecureOffer(
                session=found.session,
                certificate=found.certificate,
                address=dialled(found.address, reach=reach),
                configuration=found.configuration,
            ),
        )
    except BaseException:
        side.links.give_up(bureau)
        raise


def _verified(raw: bytes, *, bureau: MemberId, asked: acts.SecureOpening, side: LinkSide) -> OfferStatement:
    document = decode_document(
        raw,
        OfferStatement,
        name=OFFER_STATEMENT,
        network=side.network,
        suite=side.suite,
        max_bytes=acts.MAX_OFFER_BYTES,
    )
    verify_signed_by(document, member=bureau, state=side.engine.state(), suite=side.suite, is_recorded=False)
    found, question = document.body, side.suite.digest(encode_wire(asked))
    if (found.bureau, found.bank, found.question, found.session) != (bureau, side.member, question, asked.session):
        raise IntegrityError(
            "privacy.secure_offer_differs",
            f"{bureau} was asked for a link, and what came is an offer of {found.bureau} to {found.bank} that answers "
            f"another question",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAnswering:
    """A bureau that lets banks open links to it."""

    side: LinkSide
    key: SigningKey
    now_ms: Callable[[], int]

    def answer(self, asked: acts.SecureOpening, bank: MemberId) -> bytes:
        """Return this bureau's end of a link, signed; its worker waits for the bank.

        Raises Denied ``members.role_wrong``, what ``SecureLinks.accept`` raises.
        """
        side = self.side
        require_role(side.engine.state(), bank, Role.BANK)
        with side.links.turn(bank):
            # One at a time: each opening starts a worker.
            offer = side.links.accept(
                bank,
                SecureOffer(
                    session=asked.session, certificate=asked.certificate, address="", configuration=asked.configuration
                ),
            )
        statement = OfferStatement(
            bureau=side.member,
            bank=bank,
            question=side.suite.digest(encode_wire(asked)),
            session=offer.session,
            certificate=offer.certificate,
            address=offer.address,
            configuration=offer.configuration,
            made_ms=self.now_ms(),
        )
        return sign_document(statement, name=OFFER_STATEMENT, network=side.network, suite=side.suite, keys=(self.key,))


def dialled(address: str, *, reach: Reach) -> str:
    """Return an address as ``ip:port``: it is at the host where the member is reached, which this home may connect to.

    Raises Denied ``privacy.secure_address_refused``, Unavailable ``client.unreachable``.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host != reach.endpoint.host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise _refused(f"{address[:300]!r} is no port of {reach.endpoint.host}, where that member is reached")
    try:
        places = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable("client.unreachable", f"{host} has no address: {error}", retry_after_s=5.0) from error
    for _family, _kind, _protocol, _name, place in places:
        found: Address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if reach.may_connect(getattr(found, "ipv4_mapped", None) or found):
            return f"[{found}]:{port}" if found.version == 6 else f"{found}:{port}"  # noqa: PLR2004 - the version
    raise _refused(f"{host} is at no address where this home connects to anybody")


def _refused(problem: str) -> Denied:
    return Denied("privacy.secure_address_refused", f"a link is not dialled: {problem}")
