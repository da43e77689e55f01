"""A bank asks for a credential on behalf of a product, and takes what it is shown, without asking the bureau.

``CredentialVerifier.accept`` does, in this order [CREDENTIAL-10]:

1. the request is one that this bank signed, lately, for the rules that are in force, and nothing was shown for it yet;
2. the presentation is an SD-JWT+KB in the network's suite, or a proof of predicates if the request asked for one,
   bound to this bank and this request;
3. it was issued by a tax bureau of this network that is not suspended, under the key that it has today, or by a
   definition of its that the ledger has;
4. it shows the claims that were asked for, and no other;
5. its place in the status list is not revoked, by this bank's own copy of the ledger, whose newest block is recent;
6. the request is used up, and what was shown is kept; then the product's rules judge it.

LIMIT: a bureau that replaces its signing key ends the credentials that it issued by the one before: the ledger holds
no entry of each, so a stolen old key could issue more. Enterprises obtain new ones.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId, new_id
from shuiqiao.ledger.transactions.document import verify_document
from shuiqiao.members.model import Role
from shuiqiao.members.roster import is_suspended, require_role, signing_key
from shuiqiao.privacy.credentials import anoncreds
from shuiqiao.privacy.credentials.model import (
    CREDENTIAL_TYPE,
    MEDIA_TYPE,
    StatusReference,
    find_bits,
    find_registry,
    is_set,
)
from shuiqiao.privacy.credentials.presentation import (
    MAX_REQUEST_AGE_MS,
    Bounds,
    PresentationRequestBody,
    decode_request,
    encode_request,
)
from shuiqiao.privacy.credentials.store import ShownRow
from shuiqiao.privacy.sd_jwt import Challenge, jose_profile, verify

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from shuiqiao.base.ids import Entropy, OwnedId
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.privacy.credentials.model import Registry
    from shuiqiao.privacy.credentials.presentation import ProveRules
    from shuiqiao.privacy.credentials.store import ShownStore

_NEWS_S: Final = 2
"""Within so many seconds a copy of the ledger hears of what was ordered."""

_PROOF_PATIENCE_S: Final = 2.0
"""So long a proof waits for those before it: each takes 150 ms of a processor, true or false."""

SEEN_BY_ALL: Final = frozenset({"iss", "network", "vct", "iat", "exp", "status", "cnf"})
"""What every credential shows of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRules:
    """What a product asks of a credential, by the rules in force. digest: of the text of those rules."""

    product: str
    digest: bytes
    prove: ProveRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a bank was shown. unmet: claims that the product's rules do not take; none where all are met."""

    issuer: MemberId
    claims: Mapping[str, Any]
    unmet: tuple[str, ...]


class CredentialVerifier:
    """A bank that takes credentials.

    Example::

        request = bank.presentations.request(rules)
        shown = bank.presentations.accept(request, presentation, rules=rules)
        shown.unmet
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ShownStore,
        key: SigningKey,
        suite: CipherSuite,
        entropy: Entropy,
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._key = key
        self._suite = suite
        self._entropy = entropy
        self._proving = threading.Lock()

    def request(self, rules: PublishedRules, *, status_list: OwnedId | None = None) -> bytes:
        """Return a fresh signed request. status_list: of the definition by which predicates are to be proven.

        None asks for the claims of an SD-JWT as they are. Raises Denied ``privacy.product_asks_nothing``,
        ``privacy.rules_not_provable``; Unavailable ``privacy.extra_missing``, ``privacy.status_not_here``.
        """
        if not rules.prove.claims:
            raise Denied("privacy.product_asks_nothing", f"the product {rules.product} asks for no credential")
        fields = {
            "request": new_id(self._entropy),
            "bank": self._submitter.member,
            "product": rules.product,
            "rules": rules.digest,
            "claims": list(rules.prove.claims),
            "made_ms": self._submitter.now_ms(),
        }
        if status_list is not None:
            anoncreds.require_library()
            anoncreds.Asked.of(rules.prove)
            self._registry(status_list)
            fields["bounds"] = msgspec.to_builtins(Bounds.of(rules.prove))
        body = typed(fields, PresentationRequestBody, builtin_types=(bytes,))
        return encode_request(body, network=self._network, suite=self._suite, key=self._key)

    def product_of(self, raw: bytes) -> str:
        """Return the product of a request in outside bytes; raises InvalidInput ``ledger.document_*``."""
        return decode_request(raw, network=self._network, suite=self._suite).body.product

    def accept(self, raw: bytes, presentation: str, *, rules: PublishedRules) -> Shown:
        """Return what a presentation shows, once for each request.

        Raises InvalidInput ``ledger.document_*``, ``privacy.credential_foreign``, what ``sd_jwt.verify`` or
        ``anoncreds.verify`` raises; Denied ``privacy.challenge_old``, ``privacy.claims_differ``,
        ``privacy.credential_revoked``, ``privacy.credential_expired``, ``privacy.issuer_wrong``; Conflict
        ``privacy.challenge_used``; Unavailable ``ledger.copy_old``, ``privacy.status_not_here``,
        ``privacy.proofs_busy``.
        """
        body = self._own_request(raw, rules)
        if body.bounds is None:
            issuer, facts = self._accept_sd_jwt(body, presentation)
        else:
            issuer, facts = self._accept_proof(raw, presentation, rules=rules)
        # What is proven by predicates is what the rules ask for.
        unmet = rules.prove.unmet(facts) if body.bounds is None else ()
        shown = Shown(issuer=issuer, claims=facts, unmet=unmet)
        self._store.add(
            ShownRow(
                request=body.request,
                product=body.product,
                issuer=shown.issuer,
                claims=facts,
                is_met=not shown.unmet,
                shown_ms=self._submitter.now_ms(),
            )
        )
        return shown

    def _accept_sd_jwt(self, body: PresentationRequestBody, presentation: str) -> tuple[MemberId, dict[str, Any]]:
        """Steps 2 to 5: who states, and what is shown of it."""
        claims = verify(
            presentation,
            issuer_key=self._issuer_key,
            media_type=MEDIA_TYPE,
            profile=jose_profile(self._suite),
            now_s=self._submitter.latest_ms() // MS_PER_SECOND,
            challenge=Challenge(audience=self._submitter.member, nonce=body.request.hex()),
        )
        facts = {name: value for name, value in claims.items() if name not in SEEN_BY_ALL}
        if sorted(facts) != list(body.claims):
            raise Denied(
                "privacy.claims_differ",
                f"{', '.join(sorted(facts))[:200]} are shown where {', '.join(body.claims)} were asked for",
            )
        self._verify_status(claims)
        return MemberId(claims["iss"]), facts

    def _accept_proof(self, raw: bytes, presentation: str, *, rules: PublishedRules) -> tuple[MemberId, dict[str, Any]]:
        """Steps 2 to 5 of predicates [CREDENTIAL-15]: who states, and what is proven of it."""
        definition, proof = anoncreds.decode_shown(presentation)
        issuer = definition.issuer
        self._require_bureau(issuer)
        self._submitter.require_recent()
        registry = self._registry(definition.status_list)
        if definition.body.network != self._network.hex() or self._suite.digest(definition.raw) != registry.definition:
            raise InvalidInput(
                "privacy.credential_foreign", f"the ledger has another definition as {definition.status_list}"
            )
        now_s = self._submitter.latest_ms() // MS_PER_SECOND
        if now_s >= definition.body.expires_s:
            raise Denied(
                "privacy.credential_expired",
                f"what {definition.status_list} signed holds until {definition.body.expires_s}, it is {now_s} (seconds "
                "since 1970)",
            )
        with self._one_proof_at_a_time():
            facts = anoncreds.verify(definition, proof, rules=rules.prove, challenge=raw, registry=registry)
        return issuer, dict(facts)

    @contextmanager
    def _one_proof_at_a_time(self) -> Generator[None]:
        """Let whoever sends proof after proof keep one processor busy at most."""
        if not self._proving.acquire(timeout=_PROOF_PATIENCE_S):
            raise Unavailable(
                "privacy.proofs_busy", "other proofs are being verified, one at a time", retry_after_s=_NEWS_S
            )
        try:
            yield
        finally:
            self._proving.release()

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _own_request(self, raw: bytes, rules: PublishedRules) -> PresentationRequestBody:
        """Step 1."""
        document = decode_request(raw, network=self._network, suite=self._suite)
        verify_document(document, public_keys=(self._key.public_key,), suite=self._suite)
        body = document.body
        if not 0 <= self._submitter.now_ms() - body.made_ms <= MAX_REQUEST_AGE_MS:
            raise Denied("privacy.challenge_old", f"the request was made at {body.made_ms} ms, not just now")
        if (body.product, body.rules) != (rules.product, rules.digest):
            raise Denied("privacy.challenge_old", f"the rules of {body.product} changed since the request was made")
        return body

    def _issuer_key(self, _header: Mapping[str, Any], claims: Mapping[str, Any]) -> bytes:
        """Step 3: the key of today of the bureau that a credential names."""
        state = self._submitter.state()
        if claims.get("network") != self._network.hex() or claims.get("vct") != CREDENTIAL_TYPE:
            raise InvalidInput(
                "privacy.credential_foreign",
                f"a credential {str(claims.get('vct'))[:40]!r} of another network or type than {CREDENTIAL_TYPE}",
            )
        issuer = MemberId(str(claims.get("iss"))[:32])
        self._require_bureau(issuer)
        return signing_key(state, issuer)

    def _require_bureau(self, issuer: MemberId) -> None:
        state = self._submitter.state()
        require_role(state, issuer, Role.TAX_BUREAU)
        if is_suspended(state, issuer):
            raise Denied("privacy.issuer_wrong", f"{issuer} is suspended: what it states is not taken now")

    def _registry(self, status_list: OwnedId) -> Registry:
        found = find_registry(self._submitter.state(), status_list)
        if found is None:
            raise _not_here(status_list)
        return found

    def _verify_status(self, claims: Mapping[str, Any]) -> None:
        """Step 5."""
        try:
            found = claims["status"]["status_list"]
            status = typed({"status_list": found["uri"], "place": found["idx"]}, StatusReference)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise InvalidInput("privacy.credential_foreign", f"a credential without a status: {error}") from error
        self._submitter.require_recent()
        if not status.status_list.startswith(f"{claims['iss']}/"):
            raise Denied("privacy.credential_foreign", f"the status list {status.status_list} is not of its issuer")
        bits = find_bits(self._submitter.state(), status.status_list)
        if bits is None:
            # A list is on the ledger before a copy names it: this copy of the ledger is some blocks behind.
            raise _not_here(status.status_list)
        if is_set(bits, status.place):
            raise Denied("privacy.credential_revoked", f"the bureau {claims['iss']} revoked this credential")


def _not_here(status_list: str) -> Unavailable:
    return Unavailable(
        "privacy.status_not_here",
        f"the newest block here knows no status list {status_list} yet",
        retry_after_s=_NEWS_S,
    )
