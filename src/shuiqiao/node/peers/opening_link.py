"""A regulator has a tax bureau open the manifest of an answer that showed no records [EXCHANGE-27].

The question names a request, which the ledger has. What comes back names records by their places on the ledger: it is
signed by the bureau and sealed to the regulator, and the bureau enters in its journal whom it told of whom. That the
opening is the one of the manifest shows where the two are put together (``exchange.accusation``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.ids import MemberId
from shuiqiao.exchange.manifest import OpenedManifest, decode_opened, encode_opened
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role, verify_signed_by
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.service import seal_binding

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shuiqiao.base.ids import OwnedId
    from shuiqiao.crypto.model import SealingKey, SigningKey
    from shuiqiao.exchange.manifest import ManifestOpening
    from shuiqiao.exchange.provider import Provider
    from shuiqiao.node.peers.account_link import SealedSide
    from shuiqiao.node.peers.asking import PeerClient


def opening_at(
    bureau: MemberId, request: OwnedId, *, client: PeerClient, side: SealedSide, sealing_key: SealingKey
) -> ManifestOpening:
    """Return what opens the manifest of an answer, as its bureau tells this regulator.

    Raises Denied ``members.unknown``, ``exchange.opening_missing``, IntegrityError ``crypto.seal_broken``,
    ``exchange.opening_foreign``, ``ledger.document_signers_wrong``, what ``PeerClient.ask`` and ``decode_opened`` say.

    Example::

        opening_at(bureau, request, client=client, side=side, sealing_key=keys.sealing).leaves["invoice_issued@2"]
    """
    asked = acts.OpeningQuestion(request=request)
    told = client.ask(bureau, Act.MANIFEST, asked, answer=acts.ManifestOpened)
    bound = seal_binding(Act.MANIFEST, sender=bureau, receiver=side.member, network=side.network)
    raw = sealing_key.open_sealed(told.sealed, associated_data=bound)
    document = decode_opened(raw, network=side.network, suite=side.suite)
    verify_signed_by(document, member=bureau, state=side.engine.state(), suite=side.suite, is_recorded=False)
    return document.body.opening(bureau=bureau, regulator=side.member, request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningTelling:
    """A bureau that opens its manifests to regulators.

    journaled: enters that a member was told of a taxpayer, done or refused.
    """

    side: SealedSide
    provider: Provider
    key: SigningKey
    now_ms: Callable[[], int]
    journaled: Callable[[MemberId, str], AbstractContextManager[None]]

    def tell(self, request: OwnedId, asker: MemberId) -> bytes:
        """Return what opens the manifest of an answer, signed, and sealed to the regulator that asks.

        Raises Denied ``members.role_wrong``, ``exchange.opening_missing``.
        """
        require_role(self.side.engine.state(), asker, Role.REGULATOR)
        taxpayer, opening = self.provider.kept_opening(request)
        with self.journaled(asker, taxpayer):
            body = OpenedManifest(
                bureau=self.side.member, regulator=asker, request=request, kept=opening, made_ms=self.now_ms()
            )
            raw = encode_opened(body, network=self.side.network, suite=self.side.suite, key=self.key)
            return self.side.sealed(raw, act=Act.MANIFEST, receiver=asker)
