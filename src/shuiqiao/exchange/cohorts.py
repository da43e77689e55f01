"""Whose records a model is trained on: the plan that three members sign, and that no two cohorts tell of a single firm.

Rule: docs/spec/cohorts.md [COHORT-1] to [COHORT-3].

    plan = canonical CBOR of {"training", "bank", "bureau", "third", "items", "period_from", "period_to", "size",
                              "consents": H(salt, ids in order), "made_ms", "salt"}

The ledger holds a salted commitment to the plan. Two models that were trained on cohorts of which one has one firm more
tell of that firm by their difference: so two cohorts of the same bank at the same bureau are the same, or differ by a
least number of firms. Pure: no clock, no storage.

LIMIT: what three or more cohorts tell together is not bounded: where all of A, B, C and D differ by enough, A and B
together may differ from C and D together by one firm.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, Salt
from shuiqiao.consent.model import Items, Mode, Purpose
from shuiqiao.exchange.model import RequestMessage
from shuiqiao.ledger.transactions.document import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shuiqiao.crypto.model import CipherSuite

MAX_COHORT: Final = 20_000
"""Firms of one cohort: their consents' ids are 320 kB."""

MAX_PROPOSAL_BYTES: Final = 20 * MAX_COHORT + 32_768
"""Of a plan with its consents: an id has 17 bytes, the plan under 16 kB."""

_PLAN: Final = b"shuiqiao/exchange/training-plan/1\x00"
_CONSENTS: Final = b"shuiqiao/exchange/cohort/1\x00"


class TrainingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bank, a bureau and a third member without data agree to train on; which firms stands in the consents."""

    training: Id
    bank: MemberName
    bureau: MemberName
    third: MemberName
    items: Items
    period_from: date
    period_to: date
    size: Annotated[int, Meta(ge=1, le=MAX_COHORT)]
    """Consents, each of another firm."""
    consents: Digest
    """Salted digest of their ids at the bureau, in order."""
    made_ms: CalendarMs
    salt: Salt

    @property
    def name(self) -> OwnedId:
        """What the ledger knows the training by: its id belongs to the bank."""
        return owned_id(self.bank, self.training)

    def commitment(self, suite: CipherSuite) -> bytes:
        """Return the 32-byte commitment to this plan."""
        return suite.digest(_PLAN + encode_cbor(to_plain(self)))

    def asked(self, consent: bytes) -> RequestMessage:
        """Return what is asked under one consent of the cohort, as the rules of requests judge it."""
        return RequestMessage(
            request=self.training,
            consent=consent,
            sender=self.bank,
            receiver=self.bureau,
            purpose=Purpose.MODEL_DEVELOPMENT,
            mode=Mode.TRAIN,
            items=self.items,
            period_from=self.period_from,
            period_to=self.period_to,
            made_ms=self.made_ms,
            salt=self.salt,
        )


class TrainingProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan on its way to who has to sign it. cohort: of the bureau's alone, the ids of its consents, in order."""

    plan: TrainingPlan
    cohort: Annotated[list[Id], Meta(max_length=MAX_COHORT)]


def digest_of_cohort(consents: Sequence[bytes], *, salt: bytes, suite: CipherSuite) -> bytes:
    """Return the salted digest of the ids of a cohort's consents."""
    return suite.digest(_CONSENTS + salt + b"".join(consents))


def encode_proposal(proposal: TrainingProposal) -> bytes:
    """Return a proposal as bytes."""
    return encode_cbor(to_plain(proposal))


def decode_proposal(data: bytes) -> TrainingProposal:
    """Return the proposal in outside bytes; raises InvalidInput ``base.cbor_*``, ``exchange.plan_malformed``."""
    value = decode_cbor_strict(data, max_bytes=MAX_PROPOSAL_BYTES)
    try:
        return typed(value, TrainingProposal, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.plan_malformed", f"not a plan of a training: {error}") from error


def verify_size(size: int, *, least_firms: int) -> None:
    """Return if a cohort is large enough; raises Denied ``exchange.cohort_too_small``."""
    if size < least_firms:
        raise Denied(
            "exchange.cohort_too_small", f"the cohort has {size} firms where at least {least_firms} are trained on"
        )


def verify_apart(firms: frozenset[bytes], earlier: Iterable[frozenset[bytes]], *, least_firms: int) -> None:
    """Return if a cohort is one of earlier ones, or differs from each of them by enough firms [COHORT-3].

    Raises Denied ``exchange.cohorts_too_close`` naming by how many::

        verify_apart(frozenset(tags), [earlier], least_firms=100)
    """
    for other in earlier:
        differing = len(firms ^ other)
        if 0 < differing < least_firms:
            raise Denied(
                "exchange.cohorts_too_close",
                f"the cohort differs by {differing} firms from one that was trained on; by none, or by at least "
                f"{least_firms}, is allowed",
            )
