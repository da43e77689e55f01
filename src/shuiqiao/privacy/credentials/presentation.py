"""What a bank's product asks a credential to say, and the bank's signed request for it [CREDENTIAL-9].

A product names grades, lowest bands and flags; which claims it asks for follows from those, so a request can ask for
nothing that its product does not need. Whoever is asked holds the request against the bank's member record, which a
receipt proves [CREDENTIAL-11]. Pure: no clock, no ledger, no storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import Denied, IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName
from shuiqiao.ledger.transactions.document import decode_document, sign_document, verify_document
from shuiqiao.members.gate import member_gate_key
from shuiqiao.members.model import Role
from shuiqiao.members.roster import member_key
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

REQUEST: Final = "privacy.presentation_request/1"
_MAX_REQUEST_BYTES = 4_096

MAX_REQUEST_AGE_MS: Final = 300_000
"""As long as a key binding is taken."""

MAX_REQUEST_AHEAD_MS: Final = 60 * MS_PER_SECOND
"""As far as a key binding may be: two clocks that are kept differ by less."""

GRADE_CLAIM: Final = "tax_credit_grade"
BandName = Literal["tax_paid_12m_band", "sales_12m_band", "registered_band"]
FlagName = Literal["no_arrears", "no_serious_violation_36m"]
ClaimName = Literal[
    "tax_credit_grade",
    "tax_paid_12m_band",
    "sales_12m_band",
    "registered_band",
    "no_arrears",
    "no_serious_violation_36m",
    "taxpayer",
]
Claims = Annotated[list[ClaimName], Meta(min_length=1, max_length=7)]


class ProveRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a product asks of a credential. least: the lowest band that will do. names_taxpayer: asks whose it is."""

    grades: Annotated[tuple[Grade, ...], Meta(max_length=len(Grade))] = ()
    least: Annotated[dict[BandName, Annotated[int, Meta(ge=1, le=16)]], Meta(max_length=3)] = {}
    flags: Annotated[tuple[FlagName, ...], Meta(max_length=2)] = ()
    names_taxpayer: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that are asked for, in order; empty where the product asks for none."""
        named: set[str] = {*self.least, *self.flags}
        if self.grades:
            named.add(GRADE_CLAIM)
        if self.names_taxpayer:
            named.add("taxpayer")
        return tuple(sorted(named))

    @property
    def predicates(self) -> tuple[str, ...]:
        """What is proven where no claim is shown as it is, in order, e.g. ``registered_band >= 2``."""
        said = [f"{name} >= {least}" for name, least in self.least.items()]
        said += [*self.flags, *(["taxpayer"] if self.names_taxpayer else [])]
        said += [f"{GRADE_CLAIM} in {' '.join(self.grades)}"] if self.grades else []
        return tuple(sorted(said))

    def unmet(self, shown: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the claims whose values will not do, null among them, in order."""
        failed: set[str] = {
            name for name, least in self.least.items() if (shown[name] if shown[name] is not None else -1) < least
        }
        failed |= {name for name in self.flags if shown[name] is not True}
        if self.grades and shown[GRADE_CLAIM] not in self.grades:
            failed.add(GRADE_CLAIM)
        return tuple(sorted(failed))


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A product's ``ProveRules`` as they stand in a signed request, every field written."""

    grades: Annotated[list[Grade], Meta(max_length=len(Grade))]
    least: Annotated[dict[BandName, Annotated[int, Meta(ge=1, le=16)]], Meta(max_length=3)]
    flags: Annotated[list[FlagName], Meta(max_length=2)]
    names_taxpayer: bool

    @classmethod
    def of(cls, rules: ProveRules) -> Bounds:
        """Write rules down."""
        return cls(
            grades=list(rules.grades),
            least=dict(rules.least),
            flags=list(rules.flags),
            names_taxpayer=rules.names_taxpayer,
        )

    @property
    def rules(self) -> ProveRules:
        """The rules that they are."""
        return ProveRules(
            grades=tuple(self.grades), least=self.least, flags=tuple(self.flags), names_taxpayer=self.names_taxpayer
        )


class PresentationRequestBody(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """What a bank signs. request: its nonce. rules: the digest of the product's rules as they are published."""

    request: Id
    bank: MemberName
    product: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{1,31}\Z", max_length=32)]
    rules: Digest
    claims: Claims
    made_ms: CalendarMs
    bounds: Bounds | None = None
    """What is to be proven by predicates; left out where the claims are shown as they are."""


def encode_request(body: PresentationRequestBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a request signed by a bank."""
    return sign_document(body, name=REQUEST, network=network, suite=suite, keys=(key,))


def decode_request(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[PresentationRequestBody]:
    """Return a request in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, PresentationRequestBody, name=REQUEST, network=network, suite=suite, max_bytes=_MAX_REQUEST_BYTES
    )


def asker_keys(bank: MemberId) -> tuple[str, str]:
    """Return the keys of the ledger's state by which one knows who asks: a member's record, and its suspension."""
    return member_key(bank), member_gate_key(bank)


def verify_asker(
    document: Document[PresentationRequestBody], *, proven: Mapping[str, Any], suite: CipherSuite, now_ms: int
) -> None:
    """Return if the bank that a request names signed it just now, and is a bank that may act [CREDENTIAL-11].

    proven: what the ledger's state holds at ``asker_keys``, by a verified receipt. Raises Denied
    ``privacy.asker_wrong``, ``privacy.challenge_old``; IntegrityError ``privacy.asker_unproven``.
    """
    bank = MemberId(document.body.bank)
    own, gate = asker_keys(bank)
    if own not in proven or gate not in proven:
        raise IntegrityError("privacy.asker_unproven", f"{bank} asks, and the receipt proves nothing of {bank}")
    record = proven[own]
    if record is None or record["role"] != Role.BANK:
        found = "no member" if record is None else f"a {record['role']}"
        raise Denied("privacy.asker_wrong", f"{bank} asks for a credential, and the ledger has it as {found}, no bank")
    if proven[gate] is not None:
        raise Denied("privacy.asker_wrong", f"{bank} asks for a credential, and is suspended")
    try:
        verify_document(document, public_keys=(record["sign"],), suite=suite)
    except IntegrityError as error:
        raise IntegrityError(
            "privacy.asker_unproven", f"the request is not signed by the key that {bank} has on the ledger"
        ) from error
    if not -MAX_REQUEST_AHEAD_MS <= now_ms - document.body.made_ms <= MAX_REQUEST_AGE_MS:
        raise Denied("privacy.challenge_old", f"{bank} made the request at {document.body.made_ms} ms, not just now")


def verify_bounds(body: PresentationRequestBody, *, are_wanted: bool) -> None:
    """Return if a request has bounds exactly where they are wanted, and asks by them for nothing but its claims.

    Raises Denied ``privacy.claims_differ`` [CREDENTIAL-16].
    """
    if (body.bounds is not None) != are_wanted:
        raise Denied("privacy.claims_differ", f"{body.bank} asks in another format than it was asked for")
    if body.bounds is not None and list(body.bounds.rules.claims) != list(body.claims):
        raise Denied("privacy.claims_differ", f"{body.bank} asks by its bounds for other claims than it names")
