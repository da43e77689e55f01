"""Bearer tokens: 32 random bytes that stand for who logged in, until they were not used for a while, or for too long.

Only a token's hash is kept, so nobody who reads the database can use one. A token holds no permission: what its holder
may do is looked up at each call, so that a role taken away is gone at once. Times are this machine's clock's; a token
from the future, seen by a clock that was set back, has ended.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import Denied
from shuiqiao.node.accounts.model import PrincipalKind
from shuiqiao.node.accounts.store import TokenRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.accounts.store import AccountStore

TOKEN_BYTES: Final = 32
TOKEN_CHARACTERS: Final = 43
"""Of a token in URL-safe base64 without padding."""

IDLE_MS: Final = 15 * 60_000
"""A token that was not used for so long has ended."""

LIFE_MS: Final = {
    PrincipalKind.USER: 8 * MS_PER_HOUR,
    PrincipalKind.MACHINE: MS_PER_HOUR,
    PrincipalKind.ENTERPRISE: MS_PER_HOUR,
}
"""How long a token lasts whatever it is used for. A program gets its next one by itself."""

MAX_TOKENS_OF_ONE: Final = 16
"""Tokens of one holder at a time: a further one ends the oldest."""

_NOTED_EVERY_MS: Final = 30_000
"""A use is written down this long after the last one that was, so that a call costs no write."""

_CLOCK_STEP_MS: Final = 120_000
"""How far this machine's clock may be set back without ending every token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token as its holder gets it, once. ends_ms: when it ends at the latest. idle_ms: it ends unused for so long."""

    token: str
    ends_ms: int
    idle_ms: int = IDLE_MS

    def __repr__(self) -> str:
        return f"IssuedToken(ends_ms={self.ends_ms})"


class Tokens:
    """Issues, recognises and revokes tokens.

    ::

        issued = tokens.issue(PrincipalKind.USER, "00ff...")
        assert tokens.holder(issued.token) == (PrincipalKind.USER, "00ff...")
    """

    def __init__(self, store: AccountStore, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    def issue(self, kind: PrincipalKind, holder: str) -> IssuedToken:
        """Return a new token of a holder."""
        secret, now_ms = self._entropy(TOKEN_BYTES), self._clock.now_ms()
        row = TokenRow(
            hash=_digest(secret),
            kind=str(kind),
            holder=holder,
            issued_ms=now_ms,
            used_ms=now_ms,
            ends_ms=now_ms + LIFE_MS[kind],
        )
        self._store.add_token(row, idle_since_ms=now_ms - IDLE_MS, at_most=MAX_TOKENS_OF_ONE)
        return IssuedToken(token=base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), ends_ms=row.ends_ms)

    def holder(self, token: str) -> tuple[PrincipalKind, str]:
        """Return whose a token is, and note that it was used; raises Denied ``node.token_invalid``."""
        digest, now_ms = _digest_of(token), self._clock.now_ms()
        row = None if digest is None else self._store.token(digest)
        if row is None or not self._is_alive(row, now_ms=now_ms):
            raise refused_token()
        if now_ms - row.used_ms >= _NOTED_EVERY_MS:
            self._store.use_token(row.hash, now_ms=now_ms)
        return PrincipalKind(row.kind), row.holder

    def revoke(self, token: str) -> None:
        """End a token; one that is not known has ended already."""
        digest = _digest_of(token)
        if digest is not None:
            self._store.revoke_token(digest)

    def revoke_all(self, connection: Connection, kind: PrincipalKind, holder: str) -> None:
        """End every token of a holder, in a transaction of the store."""
        self._store.revoke_tokens_of(connection, str(kind), holder)

    def _is_alive(self, row: TokenRow, *, now_ms: int) -> bool:
        is_of_the_past = row.issued_ms <= now_ms + _CLOCK_STEP_MS
        return is_of_the_past and now_ms < row.ends_ms and now_ms < row.used_ms + IDLE_MS


def refused_token() -> Denied:
    """Return the one error of every token that does not count, whatever the reason: it reveals nothing."""
    return Denied("node.token_invalid", "the token is not known here or has ended")


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _digest_of(token: str) -> bytes | None:
    """Return the hash of a token in its one written form, None for any other text."""
    if len(token) != TOKEN_CHARACTERS or not token.isascii():
        return None
    try:
        secret = base64.b64decode(token + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return _digest(secret)
