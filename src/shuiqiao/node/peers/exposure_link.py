"""The ways by which a bank asks others about exposures: to bureaus, and to the bank that is asked [PSI-7]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.base.ids import MemberId
    from shuiqiao.exchange.recipient import ProviderLink
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.node.peers.asking import PeerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExposureWay:
    """The ways over HTTP. providers: to bureaus. opened: opens a secure link to a member."""

    client: PeerClient
    engine: LedgerEngine
    providers: Callable[[MemberId], ProviderLink]
    opened: Callable[[MemberId], None]

    def provider(self, bureau: MemberId) -> ProviderLink:
        """Return the way to a bureau."""
        return self.providers(bureau)

    def open_link(self, bank: MemberId) -> None:
        """Open a secure link; raises as ``secure_link.open_link``."""
        self.opened(bank)

    def ask(self, bank: MemberId, question: bytes) -> bytes:
        """Return a bank's signed statement; raises what it refuses with, and as ``PeerClient.ask``."""
        asked = acts.ExposureAsked(question=question, height=self.engine.last_block()[0])
        return self.client.ask(bank, Act.EXPOSURE, asked, answer=acts.ExposureStated).statement
