"""What an institution does for enterprises without a node: codes and keys, consents, uses of data, disputes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.ids import OwnedId, Uscc, split_owned_id
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import consents as consent_api
from shuiqiao.client.resources import disputes as dispute_api
from shuiqiao.client.resources import enrolments as enrolment_api
from shuiqiao.client.resources.records import RecordSearch
from shuiqiao.client.resources.requests import UsePage, UseQuery, UseRecord
from shuiqiao.consent.codes import CODE_LIFE_MS, CodePurpose
from shuiqiao.consent.enrolment import decode_enrolment
from shuiqiao.consent.login import TAXPAYER_CLAIM
from shuiqiao.consent.model import ConsentSubmission, IdentityCheck
from shuiqiao.consent.store import ConsentStore
from shuiqiao.consent.text import consent_text
from shuiqiao.exchange.disputes import DisputeStatus
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.paging import MAX_PROVEN, page_of, time_place
from shuiqiao.node.operations.records import search_records

if TYPE_CHECKING:
    from shuiqiao.consent.store import Enrolment
    from shuiqiao.exchange.model import UsageEntry
    from shuiqiao.exchange.store import DisputeRow
    from shuiqiao.ledger.model import Committed
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.calling import Call
    from shuiqiao.node.past import PastReader
    from shuiqiao.oversight.as_of import PastRow


# Enrolment


def issue_code(institution: Institution, order: enrolment_api.CodeOrder) -> enrolment_api.OneTimeCode:
    """Issue a one-time code; raises what ``EnrolmentCodes.issue`` raises."""
    now_ms = institution.outbox.now_ms()
    code = institution.enrolment_codes.issue(
        order.taxpayer,
        identity_check=IdentityCheck(reference=order.reference, checked_ms=now_ms),
        purpose=CodePurpose(order.purpose),
    )
    known = search_records(
        institution, RecordSearch(taxpayer=order.taxpayer, record_type="registration", number=None, values={})
    )
    return enrolment_api.OneTimeCode(
        taxpayer=order.taxpayer,
        code=code,
        valid_until_ms=now_ms + CODE_LIFE_MS,
        is_registered=bool(known.records),
    )


def enrol(
    institution: Institution, statement: enrolment_api.EnrolmentStatement, *, end_sessions: Callable[[str], None]
) -> enrolment_api.EnrolmentRecord:
    """Register the key of an enterprise that shows its code; raises what ``EnrolmentCodes.redeem`` raises.

    end_sessions: of a claim whose key was replaced, for who lost a key, or had it stolen, enrols by another one; and
    of one that another person represents now.
    """
    codes, raw = institution.enrolment_codes, bytes.fromhex(statement.enrolment)
    said = decode_enrolment(raw, network=institution.parameters.network, suite=institution.suite).body
    before = ConsentStore(institution.database, cipher=institution.cipher).enrolment(said.taxpayer)
    found = codes.redeem(raw)
    people = ("enrolment_key", "representative_since_ms")
    if before is not None and any(getattr(before, name) != getattr(found, name) for name in people):
        end_sessions(TAXPAYER_CLAIM + found.taxpayer)
    return enrolment_record(institution, found).model_copy(update={"code_used": found != before})


def read_enrolment(institution: Institution, asked: enrolment_api.EnrolmentQuestion) -> enrolment_api.EnrolmentRecord:
    """Tell what an enterprise is known by; raises Denied ``node.role_wrong``, InvalidInput for one that is not known.

    The latter is ``consent.enrolment_unknown``.
    """
    require_role(institution.settings, Role.TAX_BUREAU)
    found = ConsentStore(institution.database, cipher=institution.cipher).enrolment(asked.taxpayer)
    if found is None:
        raise InvalidInput("consent.enrolment_unknown", f"taxpayer {asked.taxpayer} has enrolled by no key here")
    return enrolment_record(institution, found)


def revoke_credentials(
    institution: Institution, asked: enrolment_api.EnrolmentQuestion
) -> enrolment_api.CredentialsRevoked:
    """Revoke a taxpayer's credentials; raises Denied ``node.role_wrong``, what the ledger refuses with."""
    return enrolment_api.CredentialsRevoked(revoked=institution.credentials.revoke(asked.taxpayer))


def recover_key(institution: Institution, asked: enrolment_api.KeyRecovery) -> enrolment_api.RecoveredKey:
    """Give an encrypted key file back; raises what ``EnrolmentCodes.give_back`` raises."""
    kept = institution.enrolment_codes.give_back(asked.taxpayer, asked.code)
    return enrolment_api.RecoveredKey(key_file=kept.hex())


def enrolment_record(institution: Institution, found: Enrolment) -> enrolment_api.EnrolmentRecord:
    """Return what an enterprise is known by."""
    return enrolment_api.EnrolmentRecord(
        bureau=institution.member,
        taxpayer=found.taxpayer,
        reference=found.identity_check.reference,
        checked_ms=found.identity_check.checked_ms,
        representative_since_ms=found.representative_since_ms,
        has_backup=institution.enrolment_codes.has_backup(found.taxpayer),
        entry_delay_min=institution.settings.entry_delay_min,
    )


# Consents


def take_in_consent(institution: Institution, message: consent_api.ConsentSubmissionMessage) -> consent_api.EntryPlace:
    """Check an enterprise's consent, put its grant on the ledger, and hand the artefact to the bank that it names.

    Raises what ``Institution.receive_consent`` raises.
    """
    return _place(institution.receive_consent(submission_of(message)).committed)


def submission_of(message: consent_api.ConsentSubmissionMessage) -> ConsentSubmission:
    """Return what an enterprise handed in."""
    return ConsentSubmission(
        artefact=bytes.fromhex(message.artefact),
        endorsement=bytes.fromhex(message.endorsement),
        grant=bytes.fromhex(message.grant),
    )


def file_artefact(institution: Institution, message: consent_api.ArtefactMessage) -> consent_api.FiledArtefact:
    """Check an artefact against the ledger and keep it; raises what ``ConsentFile.receive`` raises."""
    artefact = institution.consent_file.receive(bytes.fromhex(message.artefact))
    words = consent_text(artefact)
    return consent_api.FiledArtefact(
        consent=artefact.name,
        taxpayer=artefact.taxpayer,
        purpose=artefact.purpose,
        product=artefact.product,
        period_from=artefact.period_from.isoformat(),
        period_to=artefact.period_to.isoformat(),
        items={name: list(groups) for name, groups in artefact.items.items()},
        text_en=words.en,
        text_zh=words.zh,
    )


def relay_statement(institution: Institution, message: consent_api.ConsentStatement) -> consent_api.RelayedStatement:
    """Put a pause, a resumption or a revocation on the ledger that a consent's own key signed.

    Where the ledger cannot be reached it is kept and taken for later, which the answer says [CONSENT-34]. A bank hands
    it to the consent's provider then, who answers requests under it and may have another way [PEER-11]. Raises what
    ``relay`` of the file of consents raises.
    """
    raw, is_bank = bytes.fromhex(message.transaction), institution.settings.role is Role.BANK
    consents = institution.consent_file if is_bank else institution.consent_service
    try:
        placed = consents.relay(raw)
    except Unavailable as error:
        if not any(row.raw == raw for row in institution.outbox.rows()):
            raise
        let_go_of_calls(error)
    else:
        return consent_api.RelayedStatement(**_place(placed).model_dump())
    if is_bank:
        from shuiqiao.node.peers.exchange_link import relay_body
        from shuiqiao.node.peers.message import Act

        provider, _ = split_owned_id(OwnedId(institution.outbox.decode(raw).author))
        institution.deliveries.send(provider, Act.RELAY, relay_body(raw))
    return consent_api.RelayedStatement(index=None, height=None, time_ms=None)


def revoke_for_lost_key(institution: Institution, lost: consent_api.LostKey) -> consent_api.EntryPlace:
    """End a consent whose key was lost; raises what the ledger refuses it with."""
    return _place(institution.consent_service.revoke_for_lost_key(OwnedId(lost.consent)))


def _place(committed: Committed) -> consent_api.EntryPlace:
    return consent_api.EntryPlace(index=committed.index, height=committed.height, time_ms=committed.time_ms)


# Uses of data


def list_uses(call: Call, asked: UseQuery) -> UsePage:
    """List every use of a taxpayer's data, oldest first; raises as ``uses_of``."""
    return uses_of(call.institution, asked, past=call.past)


def uses_of(institution: Institution, asked: UseQuery, *, past: PastReader) -> UsePage:
    """Return every use of a taxpayer's data, oldest first: as of a moment, what the ledger says was given until then.

    Raises Denied ``node.role_wrong``; as ``PastReader.at`` where a moment or proofs are asked for.
    """
    account = institution.provider.usage_account(Uscc(asked.taxpayer))
    given: Mapping[str, PastRow] = {}
    is_past = asked.day is not None or asked.size is not None
    if is_past or asked.proof:
        given = _given_until(institution, asked, past=past)
    known = [use for use in account if use.request in given] if is_past else account
    page = asked.model_copy(update={"limit": min(asked.limit, MAX_PROVEN)}) if asked.proof else asked
    entries, following = page_of(known, page, place=lambda use: time_place(use.asked_ms, use.request))
    uses = (_use(entry) for entry in entries)
    items = (_proven(institution, use, given.get(use.request), proof=asked.proof) for use in uses)
    return UsePage(items=tuple(items), next=following)


def _given_until(institution: Institution, asked: UseQuery, *, past: PastReader) -> Mapping[str, PastRow]:
    """Return what this bureau had given by a moment, as the ledger says, by request."""
    # The past is executed again, which no other act needs.
    from shuiqiao.node.past import moment_of
    from shuiqiao.oversight.as_of import Subject

    found = past.at(moment_of(day=asked.day, size=asked.size, now_ms=institution.outbox.latest_ms()))
    return {row.id: row for row in found.rows(Subject.GIVEN, about=institution.member)}


def _proven(institution: Institution, use: UseRecord, row: PastRow | None, *, proof: bool) -> UseRecord:
    """Return a use with what the ledger has of it. row: None where it has nothing."""
    if row is None:
        return use
    receipt = institution.engine.receipt(row.index, state_keys=row.keys).hex() if proof else None
    return use.model_copy(update={"status": row.status, "index": row.index, "receipt": receipt})


def _use(entry: UsageEntry) -> UseRecord:
    return UseRecord(
        request=entry.request,
        consent=entry.consent,
        recipient=entry.recipient,
        purpose=entry.purpose,
        mode=entry.mode,
        items={name: list(groups) for name, groups in entry.items.items()},
        period_from=entry.period_from.isoformat(),
        period_to=entry.period_to.isoformat(),
        asked_ms=entry.asked_ms,
        answered_ms=entry.answered_ms,
        outcome=entry.outcome,
        field_code=entry.field_code,
        records=dict(entry.records),
        model=entry.model,
        outputs=entry.outputs,
    )


# Disputes


def list_disputes(institution: Institution, asked: PageQuery) -> dispute_api.DisputePage:
    """List the disputes that wait for an answer; raises Denied ``node.role_wrong``."""
    return dispute_page(institution, institution.disputes.open_disputes(), asked)


def dispute_page(institution: Institution, disputes: list[DisputeRow], asked: PageQuery) -> dispute_api.DisputePage:
    """Return a page of disputes, oldest first."""
    rows, following = page_of(disputes, asked, place=lambda row: time_place(row.received_ms, row.dispute.hex()))
    return dispute_api.DisputePage(items=tuple(dispute_record(institution, row) for row in rows), next=following)


def answer_dispute(institution: Institution, answer: dispute_api.DisputeAnswer) -> dispute_api.DisputeRecord:
    """Answer a dispute; raises what ``Disputes.answer`` raises."""
    row = institution.disputes.answer(
        bytes.fromhex(answer.dispute), status=DisputeStatus(answer.outcome), words=answer.words
    )
    return dispute_record(institution, row)


def dispute_record(institution: Institution, row: DisputeRow) -> dispute_api.DisputeRecord:
    """Return a dispute with the banks that received the record."""
    return dispute_api.DisputeRecord(
        dispute=row.dispute.hex(),
        taxpayer=row.taxpayer,
        batch=row.batch.hex(),
        leaf=row.leaf,
        reason=row.reason,
        received_ms=row.received_ms,
        status=row.status,
        answer=row.words,
        answered_ms=row.answered_ms,
        recipients=tuple(sorted({str(member) for member, _ in institution.disputes.recipients(row)})),
    )
