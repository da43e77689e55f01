"""What a person decides on a referred application, as the exact bytes that a second person approves.

A maker proposes, a checker approves the digest of these bytes, and nobody is both. What is proposed stays within what
the product allows: at most the amount applied for and the product's cap, at a rate of its grid [LENDING-12].
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.wire import Id
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.lending.file import ApplicationFile, ApplicationStatus, Judgement
from shuiqiao.lending.model import Outcome, PersonsReason, Product
from shuiqiao.lending.openings import AmountFen

MAX_REVIEW_BYTES = 4096
"""A reason of 500 characters in Chinese takes 1,500 bytes; the rest is under 200."""

MAX_REASON_CHARS = 500
MAX_CODES = 4
"""Reasons that an applicant is told of a decision by persons."""

RateText = Annotated[str, Meta(pattern=r"^0\.[0-9]{1,6}\Z", max_length=8)]


class ReviewedDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A maker's proposal. limit_fen: 0 where it refuses. request: the answer that was judged.

    reason: for the checker and the file. codes: why, for the applicant; left out where there are none.
    """

    application: Id
    request: Id
    outcome: Outcome
    limit_fen: AmountFen
    annual_rate: RateText | None
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON_CHARS)]
    codes: Annotated[tuple[PersonsReason, ...], Meta(max_length=MAX_CODES)] = ()

    @property
    def rate(self) -> Decimal | None:
        """The annual rate, None where it refuses."""
        return None if self.annual_rate is None else Decimal(self.annual_rate)


def propose_decision(
    file: ApplicationFile,
    *,
    product: Product,
    outcome: Outcome,
    reason: str,
    limit_fen: int | None = None,
    annual_rate: Decimal | None = None,
    codes: Sequence[PersonsReason] = (),
) -> bytes:
    """Return a proposal as the bytes that a checker approves.

    limit_fen, annual_rate: None takes what the rules could offer. codes: for the applicant.

    Raises Denied ``lending.not_referred``, InvalidInput ``lending.review_invalid``.

    Example::

        raw = propose_decision(file, product=product, outcome=Outcome.APPROVED, reason="order book seen")
    """
    judgement = _referred(file)
    is_approved = outcome is Outcome.APPROVED
    rate = (annual_rate if annual_rate is not None else judgement.offered_rate) if is_approved else None
    values = {
        "application": file.application.id,
        "request": judgement.request,
        "outcome": str(outcome),
        "limit_fen": (judgement.offered_fen if limit_fen is None else limit_fen) if is_approved else 0,
        "annual_rate": None if rate is None else f"{rate:f}",
        "reason": reason,
        **({"codes": [str(code) for code in codes]} if codes else {}),
    }
    raw = encode_cbor(values)
    decode_review(raw, file=file, product=product)
    return raw


def decode_review(raw: bytes, *, file: ApplicationFile, product: Product | None) -> ReviewedDecision:
    """Return what a proposal says, if it may be decided so on this application as it stands.

    product: None where two persons decided already, by the product as it was then.

    Raises Denied ``lending.not_referred``, InvalidInput ``lending.review_invalid`` and ``base.cbor_*``.
    """
    judgement = _referred(file)
    value = decode_cbor_strict(raw, max_bytes=MAX_REVIEW_BYTES)
    try:
        review = typed(value, ReviewedDecision, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    if encode_cbor(to_plain(review)) != raw:
        raise _invalid("the bytes are not those of a proposal")
    if (review.application, review.request) != (file.application.id, judgement.request):
        raise _invalid(f"it is about application {review.application.hex()}, not {file.application.id.hex()}")
    problem = "" if product is None else _problem(review, file=file, product=product)
    if problem:
        raise _invalid(problem)
    return review


def require_two_persons(maker: str, checker: str) -> None:
    """Return if maker and checker are two; raises Denied ``lending.checker_is_maker``."""
    if not maker or not checker or maker == checker:
        raise Denied(
            "lending.checker_is_maker",
            f"{maker or 'nobody'!r} proposed this decision and {checker or 'nobody'!r} approves it: two are needed",
        )


def _referred(file: ApplicationFile) -> Judgement:
    if file.status is not ApplicationStatus.REFERRED or file.judgement is None:
        raise Denied(
            "lending.not_referred", f"application {file.application.id.hex()} is {file.status}, no person decides it"
        )
    return file.judgement


def _problem(review: ReviewedDecision, *, file: ApplicationFile, product: Product) -> str:
    """Say what the product does not allow about a well-formed proposal, or nothing."""
    if review.outcome is Outcome.REFERRED:
        return "a person approves or refuses"
    if review.outcome is Outcome.REFUSED:
        return "" if (review.limit_fen, review.annual_rate) == (0, None) else "a refusal has no limit and no rate"
    most = min(file.application.amount_fen, product.limit.cap_fen)
    if not product.limit.floor_fen <= review.limit_fen <= most:
        return f"a limit of {review.limit_fen} fen where {product.limit.floor_fen} to {most} fen may be approved"
    if review.rate not in product.pricing.grid():
        return f"a rate of {review.annual_rate} is none of the product's grid"
    return ""


def _invalid(problem: str) -> InvalidInput:
    return InvalidInput("lending.review_invalid", f"this decision cannot be proposed: {problem}")
