"""What the ledger knows of a model: its form, the outputs that it may give, where it stands; and the review's report.

A model's content is bytes: what they say, whoever writes them knows (``credit``). The ledger holds a salted commitment
to them, because a small card could be guessed and hashed; the salt travels beside the content [MODEL-1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.base.wire import CalendarMs, Digest, MemberName, OwnedRef, Salt
from shuiqiao.consent.model import Output, Purpose

MAX_CONTENT_BYTES = 24 << 20
"""Of a model's content: 112 encrypted weights need it; a scorecard of 64 features with 64 bins each has 200 kB."""

MAX_FINDINGS_CHARS = 4_000
"""Of what a reviewer writes."""

MAX_REPORT_BYTES = 65_536
"""Of a review's report: findings of four bytes a character and 64 inputs are under 24 kB."""

MAX_INPUTS = 256
"""Features that a model may read, as a report names them."""

_COMMITMENT = b"shuiqiao/models/commitment/1\x00"


class ModelForm(StrEnum):
    """How a model's content is read, and so how it is run."""

    SCORECARD = "scorecard"
    """An open card with declared outputs, as ``credit.model_content`` writes it; it runs at the provider."""
    BLIND_LINEAR = "blind_linear"
    """Encrypted weights, as ``credit.blind_content`` writes them; what runs at the provider only its owner can read."""
    SECURE_LINEAR = "secure_linear"
    """No weights, as ``credit.secure_content`` writes it; owner and provider compute an output together."""


class ModelStatus(StrEnum):
    """Where a registered model stands for all providers."""

    REGISTERED = "registered"
    RETIRED = "retired"


class ReviewStatus(StrEnum):
    """Where a registered model stands at one provider; without an entry it was not reviewed there."""

    REVIEWED = "reviewed"
    REJECTED = "rejected"
    APPROVED = "approved"
    RETIRED = "retired"


class ReviewOutcome(StrEnum):
    """What a review ends with."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class RetireReason(StrEnum):
    """Why a model is retired."""

    SUPERSEDED = "superseded"
    """A newer one takes its place."""
    UNFIT = "unfit"
    """It drifted, or was found wrong."""
    ORDERED = "ordered"
    """The regulator, or an internal rule, ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A model as the ledger knows it."""

    name: OwnedId
    digest: bytes
    """The salted commitment to its content."""
    form: ModelForm
    outputs: tuple[Output, ...]
    """What of a result may leave a provider; the content declares the same."""
    purpose: Purpose
    status: ModelStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAtProvider:
    """How a registered model stands at one provider."""

    provider: MemberId
    status: ReviewStatus
    report_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """What a reviewer has to know of a model's content.

    outputs: to the number of different values that each can have. inputs: the features that it reads. rank: how many
    independent sums of its inputs one run reveals at most.
    """

    outputs: Mapping[Output, int]
    inputs: tuple[str, ...]
    rank: int


ContentReader = Callable[[bytes], ContentFacts]
"""Reads content of one form; raises InvalidInput for what cannot be run. ``node`` gives the ones of ``credit``."""

OutputValues = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Findings = Annotated[str, Meta(max_length=MAX_FINDINGS_CHARS)]


class ReviewReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a provider found about a model, signed by it; the ledger holds the digest of the signed report."""

    model: OwnedRef
    digest: Digest
    reviewer: MemberName
    outcome: ReviewOutcome
    inputs: Annotated[list[Annotated[str, Meta(max_length=80)]], Meta(max_length=MAX_INPUTS)]
    output_values: Annotated[dict[Output, OutputValues], Meta(max_length=len(Output))]
    """How many different values each output can have; empty where the content was not read."""
    rank: Annotated[int, Meta(ge=0, le=MAX_INPUTS)]
    findings: Findings
    made_ms: CalendarMs
    salt: Salt
    """Random, so that the report's digest cannot be guessed."""


class HandedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model's content on its way to a provider, with the salt that opens the commitment."""

    salt: Salt
    content: Annotated[bytes, Meta(min_length=1, max_length=MAX_CONTENT_BYTES)]


def commitment_of(content: bytes, *, salt: bytes, digest: Callable[[bytes], bytes]) -> bytes:
    """Return the salted commitment to a model's content. digest: the suite hash [MODEL-1]."""
    return digest(_COMMITMENT + salt + content)


def model_key(model: str) -> str:
    """Return the state key of a registered model."""
    return f"models/model/{model}"


def approval_key(model: str, provider: str) -> str:
    """Return the state key of how a model stands at a provider."""
    return f"models/approval/{model}/{provider}"


def model_from_state(model: str, value: Mapping[str, Any]) -> RegisteredModel:
    """Return a registered model from its state value."""
    return RegisteredModel(
        name=OwnedId(model),
        digest=value["digest"],
        form=ModelForm(value["form"]),
        outputs=tuple(Output(each) for each in value["outputs"]),
        purpose=Purpose(value["purpose"]),
        status=ModelStatus(value["status"]),
    )
