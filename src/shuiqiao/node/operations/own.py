"""What an enterprise sees and does of its own at an institution that it proved a key to, and of nothing else.

At a bureau the scope is a taxpayer, at a bank one consent (``OwnScope``). What is outside it is answered like what is
not there: ``None``, which a route tells as 404. An act whose signed bytes are of another's is refused in the same way,
before anything is done with it. An entry of the ledger is an enterprise's where it stands on one of its consents, which
the ledger itself tells (``consent_of_entry``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.encoding import decode_json
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.ids import OwnedId, new_id, owned_id
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.base.words import Words
from shuiqiao.client.resources import own as api
from shuiqiao.client.resources.consents import (
    ArtefactMessage,
    ConsentStatement,
    ConsentSubmissionMessage,
    RelayedStatement,
)
from shuiqiao.client.resources.disputes import DisputePage, DisputeRecord, DisputeStatement
from shuiqiao.client.resources.enrolments import EnrolmentRecord, KeyBackup
from shuiqiao.client.resources.records import RecordSearch
from shuiqiao.client.resources.requests import PastQuery, UsePage, UseQuery
from shuiqiao.consent.artefact import decode_artefact
from shuiqiao.consent.contract import GRANT
from shuiqiao.consent.model import ConsentArtefact, Fetch, grant_from_state, grant_key
from shuiqiao.consent.standing import other_consent
from shuiqiao.consent.store import ConsentStore, StoredArtefact
from shuiqiao.consent.text import consent_text
from shuiqiao.exchange.dispute_statement import decode_dispute
from shuiqiao.exchange.model import request_key
from shuiqiao.ledger.transactions.entry_delay import ENTRY_WAITS
from shuiqiao.lending.contract import application_key
from shuiqiao.lending.file import MAX_KEPT_BYTES, ApplicationStatus, Step
from shuiqiao.lending.model import PERSONS_WORDS, RULE_WORDS, ApplicantFile, PersonsReason, RuleCode
from shuiqiao.lending.processing import BY_PERSON
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations import enterprises
from shuiqiao.node.operations.applications import kept_where_unavailable
from shuiqiao.node.operations.paging import page_of, time_place
from shuiqiao.node.operations.records import search_records
from shuiqiao.privacy.credentials.anoncreds import encode_text
from shuiqiao.privacy.credentials.format import CredentialFormat
from shuiqiao.privacy.credentials.model import decode_blinded, decode_request

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.ledger.model import StateView, Transaction
    from shuiqiao.lending.file import ApplicationFile, KeptDecision, TimelineEntry
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.past import PastReader

MAX_REASONS = 4
"""Reasons of the model that an applicant is told, those that weighed most first; rules are told all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScope:
    """Whose objects a caller has: at a bureau a taxpayer's, at a bank those under one consent."""

    taxpayer: str = ""
    consent: OwnedId | None = None

    def has_consent(self, institution: Institution, consent: OwnedId) -> bool:
        """Tell whether a consent is this enterprise's."""
        if self.consent is not None:
            return consent == self.consent
        return _own_artefact(institution, self, consent) is not None


# Enrolment


def read_enrolment(institution: Institution, scope: OwnScope) -> EnrolmentRecord | None:
    """Return what the enterprise is known by at its bureau; raises Denied ``node.role_wrong``."""
    require_role(institution.settings, Role.TAX_BUREAU)
    found = _consents(institution).enrolment(scope.taxpayer)
    return None if found is None else enterprises.enrolment_record(institution, found)


def keep_key_backup(institution: Institution, scope: OwnScope, left: KeyBackup) -> EnrolmentRecord | None:
    """Keep the enterprise's encrypted key file; raises what ``EnrolmentCodes.keep_backup`` raises."""
    institution.enrolment_codes.keep_backup(bytes.fromhex(left.backup), taxpayer=scope.taxpayer)
    return read_enrolment(institution, scope)


# Consents


def grant_consent(
    institution: Institution, scope: OwnScope, message: ConsentSubmissionMessage
) -> api.OwnConsent | None:
    """Take in a consent of the enterprise's own; raises what ``enterprises.take_in_consent`` raises.

    One that is kept back for a while [CONSENT-32] is ``pending``.
    """
    require_role(institution.settings, Role.TAX_BUREAU)
    artefact = _decoded(institution, bytes.fromhex(message.artefact))
    if artefact.taxpayer != scope.taxpayer:
        return None
    try:
        enterprises.take_in_consent(institution, message)
    except Unavailable as error:
        if error.code != ENTRY_WAITS:
            raise
        let_go_of_calls(error)
    return read_consent(institution, scope, artefact.name)


def hand_artefact(institution: Institution, scope: OwnScope, message: ArtefactMessage) -> api.OwnConsent | None:
    """File the artefact of the consent that the enterprise proved at this bank; raises what ``receive`` raises."""
    require_role(institution.settings, Role.BANK)
    if _decoded(institution, bytes.fromhex(message.artefact)).name != scope.consent:
        return None
    enterprises.file_artefact(institution, message)
    return read_consent(institution, scope, _proven(institution, scope))


def relay_statement(institution: Institution, scope: OwnScope, message: ConsentStatement) -> RelayedStatement | None:
    """Put what a consent of the enterprise says on the ledger; raises what ``enterprises.relay_statement`` raises."""
    author = institution.outbox.decode(bytes.fromhex(message.transaction)).author
    if not scope.has_consent(institution, OwnedId(author)):
        return None
    return enterprises.relay_statement(institution, message)


def list_consents(institution: Institution, scope: OwnScope, asked: PageQuery) -> api.OwnConsentPage:
    """List the enterprise's consents that are on file here, oldest first."""
    store = _consents(institution)
    if scope.consent is None:
        stored = store.artefacts_of(scope.taxpayer)
    else:
        found = store.artefact(scope.consent)
        stored = [] if found is None else [found]
    rows, following = page_of(stored, asked, place=lambda row: time_place(row.received_ms, row.consent))
    return api.OwnConsentPage(items=tuple(_consent(institution, row) for row in rows), next=following)


def read_consent(institution: Institution, scope: OwnScope, consent: OwnedId) -> api.OwnConsent | None:
    """Return one of the enterprise's consents."""
    stored = _own_artefact(institution, scope, consent)
    return None if stored is None else _consent(institution, stored)


def read_artefact(institution: Institution, scope: OwnScope, consent: OwnedId) -> ArtefactMessage | None:
    """Return the artefact of one of the enterprise's consents, which it may hand to its bank itself."""
    stored = _own_artefact(institution, scope, consent)
    return None if stored is None else ArtefactMessage(artefact=stored.raw.hex())


def _own_artefact(institution: Institution, scope: OwnScope, consent: OwnedId) -> StoredArtefact | None:
    found = _consents(institution).artefact(consent)
    if found is None:
        return None
    is_own = found.taxpayer == scope.taxpayer if scope.consent is None else consent == scope.consent
    return found if is_own else None


def _consent(institution: Institution, stored: StoredArtefact) -> api.OwnConsent:
    artefact = _decoded(institution, stored.raw)
    value = institution.engine.state().get(grant_key(stored.consent))
    grant = None if value is None else grant_from_state(stored.consent, value)
    words = consent_text(artefact)
    return api.OwnConsent(
        consent=stored.consent,
        recipient=artefact.recipient,
        purpose=artefact.purpose,
        product=artefact.product,
        items={name: list(groups) for name, groups in artefact.items.items()},
        period_from=artefact.period_from.isoformat(),
        period_to=artefact.period_to.isoformat(),
        modes=tuple(artefact.modes),
        outputs=tuple(artefact.outputs or ()),
        answers=f"{artefact.frequency.count} a {artefact.frequency.unit}",
        data_life_days=artefact.data_life_days,
        valid_from_ms=artefact.valid_from_ms,
        valid_to_ms=artefact.valid_to_ms,
        status="pending" if grant is None else grant.status_at(institution.engine.last_block()[1]),
        pause=value["pause"].hex() if value is not None and value["pause"] else None,
        granted_index=stored.granted_index,
        fetch=artefact.fetch or Fetch.PERIODIC,
        renews=None if artefact.renews is None else owned_id(artefact.provider, artefact.renews),
        joint=None if artefact.joint is None else artefact.joint.id.hex(),
        joint_with=None if artefact.joint is None else other_consent(artefact.joint, suite=institution.suite),
        text_en=words.en,
        text_zh=words.zh,
        text_digest=None if artefact.text is None else artefact.text.hex(),
    )


def _decoded(institution: Institution, raw: bytes) -> ConsentArtefact:
    return decode_artefact(raw, network=institution.parameters.network, suite=institution.suite)


def _consents(institution: Institution) -> ConsentStore:
    return ConsentStore(institution.database, cipher=institution.cipher)


# Uses, records, disputes


def list_uses(institution: Institution, scope: OwnScope, asked: PastQuery, *, past: PastReader) -> UsePage:
    """List every use of the enterprise's data at its bureau, oldest first; raises as ``enterprises.uses_of``."""
    require_role(institution.settings, Role.TAX_BUREAU)
    whole = UseQuery.model_construct(taxpayer=scope.taxpayer, **dict(asked))
    return enterprises.uses_of(institution, whole, past=past)


def search_own_records(institution: Institution, scope: OwnScope, asked: api.OwnRecordSearch) -> api.OwnRecords:
    """Find the enterprise's own records at its bureau; raises what ``search_records`` raises."""
    found = search_records(
        institution,
        RecordSearch(taxpayer=scope.taxpayer, record_type=asked.record_type, number=asked.number, values={}),
    )
    shown = ("type", "key", "day", "status", "batch", "leaf")
    return api.OwnRecords(
        records=tuple(api.OwnRecord(**{name: getattr(row, name) for name in shown}) for row in found.records)
    )


def raise_dispute(institution: Institution, scope: OwnScope, message: DisputeStatement) -> DisputeRecord | None:
    """Take in a dispute of the enterprise's own; raises what ``Disputes.receive`` raises."""
    disputes, raw = institution.disputes, bytes.fromhex(message.dispute)
    said = decode_dispute(raw, network=institution.parameters.network, suite=institution.suite).body
    if said.taxpayer != scope.taxpayer:
        return None
    return enterprises.dispute_record(institution, disputes.receive(raw))


def list_disputes(institution: Institution, scope: OwnScope, asked: PageQuery) -> DisputePage:
    """List the enterprise's disputes, oldest first; raises Denied ``node.role_wrong``."""
    return enterprises.dispute_page(institution, institution.disputes.of_taxpayer(scope.taxpayer), asked)


def read_dispute(institution: Institution, scope: OwnScope, dispute: bytes) -> DisputeRecord | None:
    """Return one of the enterprise's disputes; raises Denied ``node.role_wrong``."""
    for row in institution.disputes.of_taxpayer(scope.taxpayer):
        if row.dispute == dispute:
            return enterprises.dispute_record(institution, row)
    return None


# Credentials


def credential_definition(institution: Institution) -> api.CredentialDefinition:
    """Return by what predicates are issued now; raises what ``CredentialIssuer.definition`` raises."""
    row = institution.credentials.definition()
    return api.CredentialDefinition(content=encode_text(row.content), tails=encode_text(row.tails))


def issue_credentials(
    institution: Institution, scope: OwnScope, message: api.CredentialRequest
) -> api.IssuedCopies | None:
    """Issue credentials to the enterprise; raises what ``CredentialIssuer.issue`` and ``issue_blinded`` raise."""
    issuer, raw = institution.credentials, bytes.fromhex(message.request)
    is_shown_whole = message.format is CredentialFormat.SD_JWT
    decode, issue = (decode_request, issuer.issue) if is_shown_whole else (decode_blinded, issuer.issue_blinded)
    said = decode(raw, network=institution.parameters.network, suite=institution.suite).body
    if said.taxpayer != scope.taxpayer:
        return None
    issued = issue(raw)
    return api.IssuedCopies(
        request=said.request.hex(),
        issuer_key=institution.keys.signing.public_key.hex(),
        credentials=issued.credentials,
        batches=tuple(batch.hex() for batch in issued.batches),
    )


# Applications


def apply(
    institution: Institution, scope: OwnScope, wanted: api.OwnApplying, *, act: bytes = b""
) -> api.OwnApplicationFile:
    """Apply for the product that the consent names; raises what ``LendingService.apply`` raises.

    act: the id that the application gets, so that the same request makes one however often it is sent; empty for a
    fresh one. Denied ``consent.artefact_missing`` where this bank was not handed the artefact yet.
    """
    artefact = institution.consent_file.artefact(_proven(institution, scope))
    name = act or new_id(institution.dependencies.entropy)
    if not institution.application_store.has(name):
        institution.lending.require_room(artefact.name)
    with kept_where_unavailable(institution, name):
        institution.lending.apply(
            institution.products.product(artefact.product),
            taxpayer=artefact.taxpayer,
            consent=artefact.name,
            amount_fen=wanted.amount_fen,
            applicant=ApplicantFile(
                other_debt_fen=wanted.other_debt_fen, industry=wanted.industry, province=wanted.province
            ),
            application=name,
        )
    return _file(institution.application_store.file(name))


def list_applications(institution: Institution, scope: OwnScope, asked: PageQuery) -> api.OwnApplicationPage:
    """List the applications under the enterprise's consent, oldest first; raises Denied ``node.role_wrong``."""
    rows, following = page_of(
        institution.application_store.applications(consent=_proven(institution, scope)),
        asked,
        place=lambda row: time_place(row.application.submitted_ms, row.application.id.hex()),
    )
    files = (institution.application_store.file(row.application.id) for row in rows)
    return api.OwnApplicationPage(items=tuple(map(_application, files)), next=following)


def read_application(institution: Institution, scope: OwnScope, application: bytes) -> api.OwnApplicationFile | None:
    """Return an application under the enterprise's consent, with what was decided and why."""
    consent = _proven(institution, scope)
    for row in institution.application_store.applications(consent=consent):
        if row.application.id == application:
            return _file(institution.application_store.file(application))
    return None


def _proven(institution: Institution, scope: OwnScope) -> OwnedId:
    require_role(institution.settings, Role.BANK)
    if scope.consent is None:
        raise Denied("consent.unknown", "no consent was proven here")
    return scope.consent


def _application(file: ApplicationFile) -> api.OwnApplication:
    found = file.application
    return api.OwnApplication(
        application=found.id.hex(),
        consent=found.consent,
        product=found.product,
        amount_fen=found.amount_fen,
        submitted_ms=found.submitted_ms,
        status=_status(file),
    )


def _status(file: ApplicationFile) -> ApplicationStatus:
    """Return where an application stands for its applicant: it is decided once the ledger has the decision.

    Until then the ledger may refuse what the bank keeps, and the application would be open again.
    """
    if file.decision is None or _is_decided(file):
        return file.status
    return ApplicationStatus.SUBMITTED if file.review is None else ApplicationStatus.REFERRED


def _is_decided(file: ApplicationFile) -> bool:
    # One that an earlier release took to its end has no timeline.
    return file.has(Step.DECIDED) or file.closed_ms is not None


_NO_NOTE = Words(en="", zh="")
_NOTES = {
    ApplicationStatus.SUBMITTED: Words(
        en="the bank has it and goes on with it by itself: nothing is needed of you",
        zh="银行已收到并将自行继续办理,您无需操作",
    ),
    ApplicationStatus.REFERRED: Words(
        en="two people of the bank decide on it: nothing is needed of you", zh="银行将由两名人员审批,您无需操作"
    ),
}
"""What an enterprise is told of an application that is not decided."""
_NOT_YET = Words(
    en="the bank has it and cannot go on with it yet; it tries again by itself. If that takes long, ask the bank",
    zh="银行已收到,但暂时无法办理,将自行重试;如长时间无进展,请咨询银行",
)
"""The same of one of which a step failed, e.g. for want of a model: what failed is the bank's own matter."""


def _file(file: ApplicationFile) -> api.OwnApplicationFile:
    """Return what its applicant is told of an application: the steps that were taken, its end, and its decision.

    What failed on the way is the bank's own matter, and what the rules said before two people decided is no decision.
    """
    found, decision = file.application, file.decision if _is_decided(file) else None
    status = _status(file)
    is_stuck = status is ApplicationStatus.SUBMITTED and file.has_failed
    note = _NOT_YET if is_stuck else _NOTES.get(status, _NO_NOTE)
    return api.OwnApplicationFile(
        application=found.id.hex(),
        consent=found.consent,
        product=found.product,
        amount_fen=found.amount_fen,
        submitted_ms=found.submitted_ms,
        status=status,
        note_en=note.en,
        note_zh=note.zh,
        timeline=tuple(_step(entry) for entry in file.timeline if not entry.code or entry.step is Step.CLOSED),
        decision=None if decision is None else _decision(decision, by_people=file.review is not None),
    )


_ENDS = {
    BY_PERSON: Words(en="people of the bank closed it; ask the bank why", zh="银行人员已结案,原因请咨询银行"),
    "consent.paused": Words(
        en="you had paused the consent when the bank needed it; resume it and apply anew",
        zh="银行办理时授权已暂停;恢复授权后可重新申请",
    ),
    "consent.revoked": Words(en="the consent was revoked", zh="授权已撤销"),
    "consent.expired": Words(en="the consent ended before a decision", zh="授权在审批前已到期"),
}
_OTHER_END = Words(
    en="no decision can be reached on it; ask the bank, and name the code", zh="无法作出审批;请凭代码咨询银行"
)
"""What an enterprise is told of the end of a file without a decision: what people wrote there is the bank's own."""


def _step(entry: TimelineEntry) -> api.OwnStep:
    words = _ENDS.get(entry.code, _OTHER_END) if entry.code else _NO_NOTE
    return api.OwnStep(
        step=entry.step,
        time_ms=entry.time_ms,
        entry=entry.entry_index,
        code=entry.code,
        cause_en=words.en,
        cause_zh=words.zh,
    )


def _decision(kept: KeptDecision, *, by_people: bool) -> api.OwnDecision:
    explained = decode_json(kept.explanation.encode(), max_bytes=MAX_KEPT_BYTES)
    features = [str(reason["feature"]) for reason in explained["reasons"][:MAX_REASONS]]
    return api.OwnDecision(
        outcome=kept.outcome,
        limit_fen=kept.limit_fen,
        annual_rate=kept.annual_rate,
        persons=by_people,
        reasons=(*_said(explained), *map(_reason, features)),
    )


def _said(explained: dict[str, Any]) -> list[api.DecisionReason]:
    """Return the reasons of the two persons where they decided, else of the rules, which referred it to them."""
    persons = explained.get("persons")
    if persons is None:
        return [*map(_rule, explained["rules"])]
    codes = [PersonsReason(code) for code in persons.get("codes") or [PersonsReason.DECIDED_BY_PERSONS]]
    return [api.DecisionReason(code=str(code), en=PERSONS_WORDS[code].en, zh=PERSONS_WORDS[code].zh) for code in codes]


def _rule(code: str) -> api.DecisionReason:
    words = RULE_WORDS[RuleCode(code)]
    return api.DecisionReason(code=code, en=words.en, zh=words.zh)


def _reason(feature: str) -> api.DecisionReason:
    # The catalogue of features brings the library that computes them, which no other act here needs.
    from shuiqiao.features.catalogue import FEATURE_BY_NAME

    known = FEATURE_BY_NAME.get(feature)
    if known is None:
        return api.DecisionReason(code=feature, en=feature, zh=feature)
    return api.DecisionReason(
        code=feature,
        en=known.reason.en,
        zh=known.reason.zh,
        change_en=known.change.en,
        change_zh=known.change.zh,
    )


# Entries of the ledger


def own_consents(institution: Institution, scope: OwnScope) -> frozenset[OwnedId]:
    """Return the names of the enterprise's consents here."""
    if scope.consent is not None:
        return frozenset({scope.consent})
    return frozenset(row.consent for row in _consents(institution).artefacts_of(scope.taxpayer))


def first_own_index(institution: Institution, scope: OwnScope) -> int:
    """Return a leaf index before which no entry is the enterprise's.

    LIMIT: a bank does not keep where a consent was granted, so there it is the beginning of the log.
    """
    if scope.consent is not None:
        return 0
    granted = [row.granted_index for row in _consents(institution).artefacts_of(scope.taxpayer)]
    return min((index for index in granted if index is not None), default=0)


def consent_of_entry(tx: Transaction, state: StateView) -> OwnedId | None:
    """Return on which consent a transaction of the ledger stands, None for one that stands on none.

    ::

        consent_of_entry(outbox.decode(raw), engine.state())  # "tax-bureau/4f..." of a request, its answer, ...
    """
    body = tx.body
    if tx.kind == GRANT:
        return owned_id(body.provider, body.consent)
    named = getattr(body, "consent", None)
    if isinstance(named, str):
        return OwnedId(named)
    for field, key in (("application", application_key), ("request", _request_key)):
        value = getattr(body, field, None)
        if value is not None:
            found = state.get(key(tx.author, value))
            return None if found is None else OwnedId(found["consent"])
    return None


def _request_key(author: str, request: bytes | str) -> str:
    return request_key(request if isinstance(request, str) else owned_id(author, request))
