"""A member's copy of the ledger, of an institution that is open or of a home that is looked at.

What only reads takes either of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import LedgerEngine, NetworkParameters, Transaction
    from shuiqiao.node.home.settings import Home, NodeSettings


class MemberCopy(Protocol):
    """A member's copy of the ledger: of an institution that is open, or of a home that is looked at."""

    @property
    def home(self) -> Home:
        """Where it lies."""
        ...

    @property
    def settings(self) -> NodeSettings:
        """The settings of that home."""
        ...

    @property
    def parameters(self) -> NetworkParameters:
        """The network."""
        ...

    @property
    def engine(self) -> LedgerEngine:
        """The ledger."""
        ...

    @property
    def suite(self) -> CipherSuite:
        """The network's cipher suite."""
        ...

    @property
    def member(self) -> MemberId:
        """Whose copy it is."""
        ...

    def decode(self, raw: bytes, /) -> Transaction:
        """Return a transaction of this network; raises what ``StateMachine.decode`` refuses."""
        ...

    def now_ms(self) -> int:
        """Return the time of its clock, in milliseconds."""
        ...

    def waits_for(self) -> str:
        """Return in words what the copy waits for before it goes on, empty where it does not."""
        ...
