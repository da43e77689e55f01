"""A regulator asks a tax bureau for the leakage account of a taxpayer, and the bureau tells it [LEAK-9].

The question names the taxpayer, so it is sealed to the bureau, and what comes back is sealed to the regulator, both
bound to who sends what to whom [PEER-7]. The bureau signs what it states, and enters in its journal who was told of
whom; the regulator enters in its own that it asked, and what it was refused with where no answer came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.members.model import Role
from shuiqiao.members.roster import member_record, require_role, verify_signed_by
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.service import seal_binding
from shuiqiao.privacy.statement import AccountStatement, decode_statement, encode_statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite, SealingKey, SigningKey
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.node.peers.asking import PeerClient
    from shuiqiao.privacy.model import Account
    from shuiqiao.privacy.service import LeakageAccounts


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSide:
    """In whose name, and by which copy of the ledger, a regulator and a bureau ask and tell, sealed to each other."""

    member: MemberId
    engine: LedgerEngine
    suite: CipherSuite

    @property
    def network(self) -> bytes:
        """The id of the network."""
        return self.engine.parameters.network

    def sealed(self, content: bytes, *, act: Act, receiver: MemberId) -> bytes:
        """Return what only the receiver can read, and for this act alone."""
        return self.suite.seal(
            content,
            recipient=member_record(self.engine.state(), receiver)["seal"],
            associated_data=seal_binding(act, sender=self.member, receiver=receiver, network=self.network),
        )


def account_at(
    bureau: MemberId, taxpayer: str, *, client: PeerClient, side: SealedSide, sealing_key: SealingKey
) -> Account:
    """Return the account of a taxpayer as a bureau states it to this regulator.

    Raises Denied ``members.unknown``, IntegrityError ``crypto.seal_broken``, ``privacy.statement_differs``,
    ``ledger.document_signers_wrong``, what ``PeerClient.ask`` and ``decode_statement`` raise.

    Example::

        account_at(bureau, "91440300MA5LEAKME7", client=client, side=side, sealing_key=keys.sealing).lines
    """
    sealed = side.sealed(taxpayer.encode(), act=Act.LEAKAGE, receiver=bureau)
    told = client.ask(bureau, Act.LEAKAGE, acts.SealedQuestion(sealed=sealed), answer=acts.SealedAnswer)
    bound = seal_binding(Act.LEAKAGE, sender=bureau, receiver=side.member, network=side.network)
    raw = sealing_key.open_sealed(told.sealed, associated_data=bound)
    document = decode_statement(raw, network=side.network, suite=side.suite)
    verify_signed_by(document, member=bureau, state=side.engine.state(), suite=side.suite, is_recorded=False)
    question = side.suite.digest(sealed)
    document.body.require_answers(bureau=bureau, regulator=side.member, question=question, taxpayer=taxpayer)
    return document.body.account()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTelling:
    """A bureau that tells regulators of the accounts of its taxpayers.

    journaled: enters that a member was told of a taxpayer, done or refused.
    """

    side: SealedSide
    accounts: LeakageAccounts
    key: SigningKey
    now_ms: Callable[[], int]
    journaled: Callable[[MemberId, str], AbstractContextManager[None]]

    def tell(self, taxpayer: bytes, sealed: bytes, asker: MemberId) -> bytes:
        """Return the account of a taxpayer, signed, and sealed to the regulator that asks.

        sealed: the question as it came. Raises Denied ``members.role_wrong``, InvalidInput ``peer.body_malformed``.
        """
        require_role(self.side.engine.state(), asker, Role.REGULATOR)
        try:
            number = typed(taxpayer.decode("ascii"), TaxpayerNumber)
        except (UnicodeDecodeError, msgspec.ValidationError) as error:
            raise InvalidInput("peer.body_malformed", f"{len(taxpayer)} bytes are no taxpayer number") from error
        with self.journaled(asker, number):
            statement = AccountStatement.of(
                self.accounts.of(number),
                bureau=self.side.member,
                regulator=asker,
                question=self.side.suite.digest(sealed),
                taxpayer=number,
                made_ms=self.now_ms(),
            )
            raw = encode_statement(statement, network=self.side.network, suite=self.side.suite, key=self.key)
            return self.side.sealed(raw, act=Act.LEAKAGE, receiver=asker)
