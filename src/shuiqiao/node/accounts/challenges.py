"""How an enterprise proves to a server that it holds a key: it signs a challenge, once, and gets a short token.

What it signs is ``consent/login``, whose challenge is made here::

    challenge = issued ms u64 || random 16 || HMAC-SHA-256 over both under a secret of this process

A challenge is not kept when it is given out, so nobody fills anything by asking for many; one that was used with a good
signature is remembered until it has ended. A server that started anew takes none that was given out before. A claim
that nobody can prove is refused as one that another key signed. A signature counts only at an address by which this
server is reached, so that whoever passes a challenge on to an enterprise gets nothing here [API-24].
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from cachetools import TTLCache

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import Denied, IntegrityError, Unavailable
from shuiqiao.consent.login import RANDOM_BYTES, STAMP_BYTES, TAG_BYTES, EnterpriseLoginBody, decode_login
from shuiqiao.ledger.transactions.document import verify_document

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.transactions.document import Document

CHALLENGE_LIFE_MS: Final = 120_000
"""How long a challenge may be signed."""

MAX_USED: Final = 16_384
"""Challenges that were used and have not ended: beyond that nobody more is let in until some have."""


ORIGINS_TOLD: Final = 8
"""Of its own addresses a server names so many where it refuses another one."""


class EnterpriseKeys(Protocol):
    """Whoever knows which public key proves a claim at this institution."""

    def key_of(self, claim: str) -> bytes | None:
        """Return the raw public key, None for a claim that nobody can prove here now."""
        ...


class Challenges:
    """Gives out challenges and takes the signed ones.

    ::

        challenge = challenges.issue()
        claim = challenges.proven_claim(signed, origins=["https://bank.example:8600"])  # "consent:bureau/00ff..."
    """

    def __init__(
        self,
        keys: EnterpriseKeys,
        *,
        institution: str,
        network: bytes,
        suite: CipherSuite,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._keys = keys
        self._institution = institution
        self._network = network
        self._suite = suite
        self._clock = clock
        self._entropy = entropy
        self._secret = entropy(TAG_BYTES)
        self._used: TTLCache[bytes, bool] = TTLCache(maxsize=MAX_USED, ttl=CHALLENGE_LIFE_MS, timer=clock.now_ms)
        self._lock = threading.Lock()

    def issue(self) -> bytes:
        """Return a fresh challenge, to be signed within CHALLENGE_LIFE_MS."""
        head = self._clock.now_ms().to_bytes(STAMP_BYTES, "big") + self._entropy(RANDOM_BYTES)
        return head + self._tag(head)

    def proven_claim(self, signed: bytes, *, origins: Sequence[str]) -> str:
        """Return what the signer of a challenge proved to be, once for each challenge.

        origins: the addresses by which this server is reached, as ``Endpoint.url`` spells them.

        Raises InvalidInput for what is no such document of this network; Denied ``node.challenge_invalid`` for a
        challenge of another institution or server, one that has ended or was used; Denied ``node.origin_foreign`` for
        one that was signed for another address; Denied ``node.login_refused`` where the key does not prove the claim;
        Unavailable ``node.login_busy``.
        """
        document = decode_login(signed, network=self._network, suite=self._suite)
        self._require_fresh(document.body)
        _require_own(document.body.origin, origins=origins)
        self._require_key(document)
        self._use(document.body.challenge)
        return document.body.claim

    def require_key(self, signed: bytes) -> None:
        """Return if the key that signed a challenge proves its claim still; raises Denied ``node.login_refused``.

        Who gave a token asks this then: another key may have been enrolled since, and the tokens before it ended.
        """
        self._require_key(decode_login(signed, network=self._network, suite=self._suite))

    def _require_key(self, document: Document[EnterpriseLoginBody]) -> None:
        key = self._keys.key_of(document.body.claim)
        if key is None:
            raise _refused()
        try:
            verify_document(document, public_keys=(key,), suite=self._suite)
        except IntegrityError as error:
            raise _refused() from error

    def _require_fresh(self, body: EnterpriseLoginBody) -> None:
        head, tag = body.challenge[:-TAG_BYTES], body.challenge[-TAG_BYTES:]
        age_ms = self._clock.now_ms() - int.from_bytes(head[:STAMP_BYTES], "big")
        is_ours = hmac.compare_digest(tag, self._tag(head)) and body.institution == self._institution
        if not is_ours or not 0 <= age_ms < CHALLENGE_LIFE_MS:
            raise Denied(
                "node.challenge_invalid",
                f"the challenge was not given out by {self._institution} within the last "
                f"{CHALLENGE_LIFE_MS // MS_PER_SECOND} s",
            )

    def _use(self, challenge: bytes) -> None:
        with self._lock:
            if challenge in self._used:
                raise Denied("node.challenge_invalid", "the challenge was used already: each counts once")
            self._used.expire()
            if len(self._used) >= MAX_USED:
                raise Unavailable(
                    "node.login_busy",
                    f"{MAX_USED} enterprises logged in within {CHALLENGE_LIFE_MS // MS_PER_SECOND} s",
                    retry_after_s=CHALLENGE_LIFE_MS / MS_PER_SECOND,
                )
            self._used[challenge] = True

    def _tag(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, head + self._institution.encode(), "sha256")


def _require_own(origin: str, *, origins: Sequence[str]) -> None:
    if origin not in origins:
        more = ", ..." if len(origins) > ORIGINS_TOLD else ""
        known = ", ".join(origins[:ORIGINS_TOLD]) + more
        raise Denied(
            "node.origin_foreign",
            f"the log-in was signed for {origin}, and this server knows itself as {known or 'nothing'}",
        )


def _refused() -> Denied:
    return Denied("node.login_refused", "the signature does not prove the claim, or there is nothing to prove it by")
