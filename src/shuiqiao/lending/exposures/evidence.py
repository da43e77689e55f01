"""What a bank put into a run, held against what it signed and against the ledger by whoever audits it.

Rule: docs/spec/psi.md [PSI-10]. A bank opens the list that it committed to, with the artefacts of its consents. A
taxpayer in it without a consent that allows it, or with a request of another one, is found out: each artefact is
committed to on the ledger, and each request stands there with its consent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, owned_id
from shuiqiao.base.wire import OwnedRef
from shuiqiao.consent.artefact import decode_artefact, verify_commitment
from shuiqiao.consent.model import MAX_ARTEFACT_BYTES, Mode
from shuiqiao.consent.service import find_grant
from shuiqiao.exchange.model import request_key
from shuiqiao.ledger.transactions.document import decode_document, to_plain
from shuiqiao.lending.exposures.model import (
    MAX_QUESTION_BYTES,
    MAX_STATEMENT_BYTES,
    QUESTION,
    STATEMENT,
    ExposureQuestion,
    ExposureStatement,
    InputEntry,
    decode_inputs,
)
from shuiqiao.members.roster import verify_signed_by

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import StateView

MAX_EVIDENCE_BYTES: Final = 8 * 2**20
"""Of one bank's evidence: some 4,000 taxpayers, whose artefacts have 2 kB each."""


class RunEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What both banks signed, and one bank's list with the artefacts that it rests on."""

    bank: str
    question: Annotated[bytes, Meta(max_length=MAX_QUESTION_BYTES)]
    statement: Annotated[bytes, Meta(max_length=MAX_STATEMENT_BYTES)]
    inputs: Annotated[bytes, Meta(max_length=MAX_EVIDENCE_BYTES)]
    artefacts: dict[OwnedRef, Annotated[bytes, Meta(max_length=MAX_ARTEFACT_BYTES)]]

    def encode(self) -> bytes:
        """Return it as bytes; raises InvalidInput ``lending.exposure_list_malformed`` where it is too long."""
        data = encode_cbor(to_plain(self))
        if len(data) > MAX_EVIDENCE_BYTES:
            raise InvalidInput(
                "lending.exposure_list_malformed",
                f"evidence of {len(data)} bytes, where {MAX_EVIDENCE_BYTES} are taken at a time",
            )
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """A run of which one bank's list holds. taxpayers: how many that bank put in."""

    bank: MemberId
    asks: MemberId
    asked: MemberId
    taxpayers: int


def verify_evidence(raw: bytes, *, state: StateView, network: bytes, suite: CipherSuite) -> VerifiedRun:
    """Return what a bank put into a run, if each taxpayer is there by a consent that allows it.

    Raises IntegrityError ``lending.exposure_input_unfounded`` naming what does not hold, InvalidInput
    ``lending.exposure_list_malformed``, and what the documents and artefacts are refused with.

    ::

        verify_evidence(raw, state=engine.state(), network=network, suite=suite).taxpayers
    """
    found = _decoded(raw)
    asked = decode_document(
        found.question, ExposureQuestion, name=QUESTION, max_bytes=MAX_QUESTION_BYTES, network=network, suite=suite
    )
    question = asked.body
    verify_signed_by(asked, member=MemberId(question.asks), state=state, suite=suite, is_recorded=False)
    stated = decode_document(
        found.statement, ExposureStatement, name=STATEMENT, max_bytes=MAX_STATEMENT_BYTES, network=network, suite=suite
    )
    statement = stated.body
    verify_signed_by(stated, member=MemberId(statement.asked), state=state, suite=suite, is_recorded=False)
    answers = (question.asks, question.asked, suite.digest(found.question))
    if (statement.asks, statement.asked, statement.question) != answers or found.bank not in answers:
        raise _unfounded("the two banks did not sign one and the same run")
    is_asking = found.bank == question.asks
    if suite.digest(found.inputs) != (question if is_asking else statement).inputs:
        raise _unfounded(f"the list is not the one that {found.bank} signed")
    entries = decode_inputs(found.inputs).entries
    if is_asking and [each.request for each in entries] != question.requests:
        raise _unfounded(f"the list of {found.bank} is of other requests than its question")
    for entry in entries:
        _verify_entry(entry, evidence=found, state=state, network=network, suite=suite)
    return VerifiedRun(
        bank=MemberId(found.bank),
        asks=MemberId(question.asks),
        asked=MemberId(question.asked),
        taxpayers=len({each.taxpayer for each in entries}),
    )


def _decoded(raw: bytes) -> RunEvidence:
    try:
        value = decode_cbor_strict(raw, max_bytes=MAX_EVIDENCE_BYTES)
        found: RunEvidence = typed(value, RunEvidence, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("lending.exposure_list_malformed", f"this is no evidence of a run: {error}") from error
    return found


def _verify_entry(
    entry: InputEntry, *, evidence: RunEvidence, state: StateView, network: bytes, suite: CipherSuite
) -> None:
    consent, bank = OwnedId(entry.consent), MemberId(evidence.bank)
    raw = evidence.artefacts.get(consent)
    if raw is None:
        raise _unfounded(f"{bank} shows no artefact of consent {consent}, which its list names")
    artefact = decode_artefact(raw, network=network, suite=suite)
    verify_commitment(artefact, artefact_bytes=raw, grant=find_grant(state, consent), suite=suite)
    if (artefact.recipient, artefact.taxpayer) != (bank, entry.taxpayer) or Mode.EXPOSURE not in artefact.modes:
        raise _unfounded(f"consent {consent} does not let {bank} put in the taxpayer that its list names for it")
    if entry.request is not None:
        made = state.get(request_key(owned_id(bank, entry.request)))
        if made is None or made["consent"] != consent or made["mode"] != Mode.EXPOSURE:
            raise _unfounded(f"request {entry.request.hex()} of {bank} was not made under consent {consent}")


def _unfounded(problem: str) -> IntegrityError:
    return IntegrityError("lending.exposure_input_unfounded", problem)
