"""``/own``: what an enterprise without a node sees and does of its own, at its bureau and at its banks.

These routes name no taxpayer: whose objects they are follows from the key that the caller proved [API-13]. What is
another's is answered like what is not there.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, Path, Query, Response

from shuiqiao.api.acts import act_id
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routes.consents import Owner, OwnId
from shuiqiao.api.routes.ledger import RECEIPT_ANSWER, Index, Place, Proof, receipt_of, transaction_at
from shuiqiao.api.routes.requests import PROVEN_CODES, Day, PastSize
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import OwnedId
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources import own as api
from shuiqiao.client.resources.consents import (
    ArtefactMessage,
    ConsentStatement,
    ConsentSubmissionMessage,
    RelayedStatement,
)
from shuiqiao.client.resources.disputes import (
    LIST_OWN_DISPUTES,
    RAISE_DISPUTE,
    READ_OWN_DISPUTE,
    DisputePage,
    DisputeRecord,
    DisputeStatement,
)
from shuiqiao.client.resources.enrolments import KEEP_KEY_BACKUP, READ_OWN_ENROLMENT, EnrolmentRecord, KeyBackup
from shuiqiao.client.resources.grades import EXPLAIN_OWN_GRADE, GradeExplanation, OwnGradeQuestion
from shuiqiao.client.resources.leakage import READ_OWN_LEAKAGE, LeakageRecord
from shuiqiao.client.resources.ledger import EntryPage
from shuiqiao.client.resources.members import MemberPage
from shuiqiao.client.resources.requests import PastQuery, UsePage
from shuiqiao.node.accounts.model import PrincipalKind
from shuiqiao.node.operations import grades, leakage
from shuiqiao.node.operations import own as acts
from shuiqiao.node.operations.ledger import entries_from, list_members
from shuiqiao.node.operations.own import OwnScope

own = Routes("own")

DisputeId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["d1" * 16])]
ApplicationId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["a1" * 16])]

GradedYear = Annotated[int, Query(ge=2014, le=2099, description="Of which calendar year", examples=[2025])]

_WRONG_ROLE = ("node.role_wrong",)
_NOT_THERE = ("api.not_found",)
_Found = TypeVar("_Found")


async def _scope_of(caller: Caller) -> OwnScope:
    if caller.kind is not PrincipalKind.ENTERPRISE:
        raise Denied("api.forbidden", "this is for an enterprise that proved a key of its own")
    return OwnScope(taxpayer=caller.taxpayer, consent=caller.consent)


Own = Annotated[OwnScope, Depends(_scope_of)]
"""Whose objects the caller has."""


def _present(found: _Found | None) -> _Found:
    if found is None:
        raise not_found()
    return found


# At the bureau: enrolment


@own.get(READ_OWN_ENROLMENT.path, permission="own.read", codes=(*_WRONG_ROLE, *_NOT_THERE))
def read_own_enrolment(running: Running, scope: Own) -> EnrolmentRecord:
    """Tell what the enterprise is known by at its bureau."""
    return _present(acts.read_enrolment(running.institution, scope))


@own.post(
    KEEP_KEY_BACKUP.path,
    permission="own.write",
    problems=(422,),
    codes=(*_WRONG_ROLE, *_NOT_THERE, "consent.taxpayer_mismatch", "crypto.key_file_damaged"),
)
def keep_key_backup(left: KeyBackup, running: Running, caller: Caller, scope: Own) -> EnrolmentRecord:
    """Keep the enterprise's key file, which it encrypted on its own device; the bureau cannot open it."""
    with journaled(running, caller, act="own.keep_key_backup"):
        return _present(acts.keep_key_backup(running.institution, scope, left))


# Consents


@own.post(
    api.GRANT_OWN_CONSENT.path,
    permission="own.write",
    problems=(422,),
    codes=(*_WRONG_ROLE, *_NOT_THERE, "consent.already_granted", "consent.ceiling_exceeded"),
)
def grant_own_consent(
    message: ConsentSubmissionMessage, running: Running, caller: Caller, scope: Own
) -> api.OwnConsent:
    """Check a consent that the enterprise signed by halves, countersign and record it, and hand it to its bank.

    It is ``pending`` where this bureau keeps grants back for a while: it does the rest then by itself [CONSENT-32].
    """
    with journaled(running, caller, act="own.consent"):
        found = _present(acts.grant_consent(running.institution, scope, message))
    if found.status == "pending":
        running.grant_later(bytes.fromhex(message.grant))
    return found


@own.post(
    api.HAND_OWN_ARTEFACT.path,
    permission="own.write",
    problems=(422,),
    codes=(*_WRONG_ROLE, *_NOT_THERE, "consent.unknown", "consent.recipient_wrong"),
)
def hand_own_artefact(message: ArtefactMessage, running: Running, caller: Caller, scope: Own) -> api.OwnConsent:
    """Put the artefact of the proven consent on this bank's file, where the bureau has not done so."""
    with journaled(running, caller, act="own.hand_artefact"):
        return _present(acts.hand_artefact(running.institution, scope, message))


@own.post(
    api.RELAY_OWN_STATEMENT.path,
    permission="own.write",
    problems=(422,),
    codes=(*_WRONG_ROLE, *_NOT_THERE, "consent.statement_wrong"),
)
def relay_own_statement(message: ConsentStatement, running: Running, caller: Caller, scope: Own) -> RelayedStatement:
    """Put a pause, a resumption or a revocation of an own consent on the ledger."""
    with journaled(running, caller, act="own.relay"):
        return _present(acts.relay_statement(running.institution, scope, message))


@own.get(api.LIST_OWN_MEMBERS.path, permission="own.read")
def list_own_members(
    running: Running, _scope: Own, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> MemberPage:
    """List the members of the network, whose names stand beside the ids in a consent."""
    return list_members(running.institution, PageQuery(limit=limit, cursor=cursor))


@own.get(api.LIST_OWN_CONSENTS.path, permission="own.read")
def list_own_consents(
    running: Running, scope: Own, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.OwnConsentPage:
    """List the enterprise's consents on file here, oldest first."""
    return acts.list_consents(running.institution, scope, PageQuery(limit=limit, cursor=cursor))


@own.get(api.READ_OWN_CONSENT.path, permission="own.read", codes=_NOT_THERE)
def read_own_consent(provider: Owner, consent: OwnId, running: Running, scope: Own) -> api.OwnConsent:
    """Return one of the enterprise's consents in full."""
    return _present(acts.read_consent(running.institution, scope, OwnedId(f"{provider}/{consent}")))


@own.get(api.READ_OWN_ARTEFACT.path, permission="own.read", codes=_NOT_THERE)
def read_own_artefact(provider: Owner, consent: OwnId, running: Running, scope: Own) -> ArtefactMessage:
    """Return the artefact of one of the enterprise's consents."""
    return _present(acts.read_artefact(running.institution, scope, OwnedId(f"{provider}/{consent}")))


# At the bureau: uses, records, disputes


@own.get(api.LIST_OWN_USES.path, permission="own.read", codes=PROVEN_CODES)
def list_own_uses(
    running: Running,
    scope: Own,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
    day: Day = None,
    size: PastSize = None,
    proof: Proof = False,  # noqa: FBT002 - FastAPI's form of a parameter
) -> UsePage:
    """List who used the enterprise's data, when, for what, how much, oldest first."""
    asked = PastQuery(limit=limit, cursor=cursor, day=day, size=size, proof=proof)
    return acts.list_uses(running.institution, scope, asked, past=running.past)


@own.get(READ_OWN_LEAKAGE.path, permission="own.read", codes=_WRONG_ROLE)
def read_own_leakage(running: Running, scope: Own) -> LeakageRecord:
    """Tell what each recipient can know of the enterprise by what was answered, and how much more it may."""
    return leakage.read_own_leakage(running.institution, scope)


@own.get(
    EXPLAIN_OWN_GRADE.path,
    permission="own.read",
    problems=(409,),
    codes=(*_WRONG_ROLE, "tax_credit.year_not_begun", "tax_credit.registration_missing", "tax_credit.events_many"),
)
def explain_own_grade(running: Running, scope: Own, year: GradedYear) -> GradeExplanation:
    """Work the enterprise's own tax credit grade of a year out by its bureau's records, and what it can repair."""
    return grades.explain_own_grade(running.institution, scope, OwnGradeQuestion(year=year))


@own.post(
    api.SEARCH_OWN_RECORDS.path,
    permission="own.read",
    codes=(*_WRONG_ROLE, "standards.type_unknown", "vault.found_too_many"),
)
def search_own_records(asked: api.OwnRecordSearch, running: Running, caller: Caller, scope: Own) -> api.OwnRecords:
    """Find what the bureau holds of the enterprise, each record by its place on the ledger."""
    with journaled(running, caller, act="own.search_records"):
        return acts.search_own_records(running.institution, scope, asked)


@own.post(
    RAISE_DISPUTE.path,
    permission="own.write",
    problems=(422,),
    codes=(
        *_WRONG_ROLE,
        *_NOT_THERE,
        "consent.provider_wrong",
        "exchange.dispute_open",
        "exchange.disputes_too_many",
        "exchange.record_not_given",
    ),
)
def raise_dispute(message: DisputeStatement, running: Running, caller: Caller, scope: Own) -> DisputeRecord:
    """Dispute a record that was given to a bank."""
    with journaled(running, caller, act="own.dispute"):
        return _present(acts.raise_dispute(running.institution, scope, message))


@own.get(LIST_OWN_DISPUTES.path, permission="own.read", codes=_WRONG_ROLE)
def list_own_disputes(
    running: Running, scope: Own, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> DisputePage:
    """List the enterprise's disputes and their answers, oldest first."""
    return acts.list_disputes(running.institution, scope, PageQuery(limit=limit, cursor=cursor))


@own.get(READ_OWN_DISPUTE.path, permission="own.read", codes=(*_WRONG_ROLE, *_NOT_THERE))
def read_own_dispute(dispute: DisputeId, running: Running, scope: Own) -> DisputeRecord:
    """Tell what became of one of the enterprise's disputes."""
    return _present(acts.read_dispute(running.institution, scope, bytes.fromhex(dispute)))


# At the bureau: credentials


@own.get(
    api.READ_CREDENTIAL_DEFINITION.path,
    permission="own.read",
    problems=(503,),
    codes=(*_WRONG_ROLE, "privacy.extra_missing"),
)
def read_credential_definition(running: Running, _scope: Own) -> api.CredentialDefinition:
    """Return by what credentials for predicates are issued now; the first one of a month takes many seconds to make."""
    return acts.credential_definition(running.institution)


@own.post(
    api.ISSUE_OWN_CREDENTIALS.path,
    permission="own.write",
    problems=(422,),
    codes=(
        *_WRONG_ROLE,
        *_NOT_THERE,
        "consent.provider_wrong",
        "privacy.blinded_malformed",
        "privacy.credentials_too_many",
        "privacy.definition_replaced",
        "privacy.extra_missing",
        "privacy.request_old",
        "privacy.request_repeated",
        "vault.busy",
    ),
)
def issue_own_credentials(
    message: api.CredentialRequest, running: Running, caller: Caller, scope: Own
) -> api.IssuedCopies:
    """Issue credentials of bands and flags to the enterprise, a copy for each key; where they are shown nobody asks."""
    with journaled(running, caller, act="own.credentials"):
        return _present(acts.issue_credentials(running.institution, scope, message))


# At a bank: applications


@own.post(
    api.APPLY.path,
    permission="own.write",
    codes=(
        *_WRONG_ROLE,
        "consent.artefact_missing",
        "consent.expired",
        "consent.paused",
        "consent.revoked",
        "lending.applications_many",
        "lending.product_unknown",
    ),
)
def apply_for_loan(wanted: api.OwnApplying, running: Running, caller: Caller, scope: Own) -> api.OwnApplicationFile:
    """Apply for the product that the proven consent names; the bank's server goes on with it by itself [LENDING-14]."""
    with journaled(running, caller, act="own.apply"):
        file = acts.apply(running.institution, scope, wanted, act=act_id.get())
    running.process_soon(bytes.fromhex(file.application))
    return file


@own.get(api.LIST_OWN_APPLICATIONS.path, permission="own.read", codes=(*_WRONG_ROLE, "consent.unknown"))
def list_own_applications(
    running: Running, scope: Own, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.OwnApplicationPage:
    """List the applications under the proven consent, oldest first."""
    return acts.list_applications(running.institution, scope, PageQuery(limit=limit, cursor=cursor))


@own.get(api.READ_OWN_APPLICATION.path, permission="own.read", codes=(*_WRONG_ROLE, *_NOT_THERE, "consent.unknown"))
def read_own_application(application: ApplicationId, running: Running, scope: Own) -> api.OwnApplicationFile:
    """Return an application with its timeline, and what was decided on it and why."""
    return _present(acts.read_application(running.institution, scope, bytes.fromhex(application)))


# Entries of the ledger and their receipts


@own.get(api.LIST_OWN_ENTRIES.path, permission="own.read")
def list_own_entries(
    running: Running, scope: Own, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None
) -> EntryPage:
    """List what the ledger has under the enterprise's consents; a page may be empty and name a next one."""
    institution = running.institution
    own_names, state = acts.own_consents(institution, scope), institution.engine.state()
    first = int(cursor) if cursor else acts.first_own_index(institution, scope)
    return entries_from(
        running.institution, first, limit=limit, fits=lambda tx: acts.consent_of_entry(tx, state) in own_names
    )


@own.get(
    "/own/entries/{index}/receipt",
    permission="own.read",
    problems=(404,),
    codes=("ledger.index_unknown", "ledger.quorum_not_reached"),
    response_class=Response,
    responses=RECEIPT_ANSWER,
)
def read_own_receipt(index: Index, running: Running, scope: Own) -> Response:
    """Return the receipt of an entry under one of the enterprise's consents."""
    institution = running.institution
    tx = transaction_at(institution, index)
    if tx is None or acts.consent_of_entry(tx, institution.engine.state()) not in acts.own_consents(institution, scope):
        raise not_found()
    return receipt_of(running, index)
