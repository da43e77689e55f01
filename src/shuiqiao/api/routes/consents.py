"""``/consents``: the consents that this institution has on file, and what enterprises hand in about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled, performed
from shuiqiao.api.routes.ledger import Proof
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import OwnedId
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources.consents import (
    FILE_ARTEFACT,
    RELAY_STATEMENT,
    REVOKE_FOR_LOST_KEY,
    TAKE_IN_CONSENT,
    ArtefactMessage,
    ConsentPage,
    ConsentRecord,
    ConsentStatement,
    ConsentSubmissionMessage,
    EntryPlace,
    FiledArtefact,
    LostKey,
    RelayedStatement,
)
from shuiqiao.consent.model import grant_from_state, grant_key
from shuiqiao.consent.store import ConsentStore, FiledConsent
from shuiqiao.ledger.transactions.entry_delay import ENTRY_WAITS
from shuiqiao.ledger.transactions.looking_up import newest_index
from shuiqiao.node.operations import enterprises
from shuiqiao.node.operations.paging import MAX_PROVEN

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution

consents = Routes("consents")

Owner = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,31}$", examples=["tax-bureau"])]
OwnId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["4f" * 16])]


@consents.get("/consents", permission="consents.read", codes=("ledger.quorum_not_reached",))
def list_consents(
    running: Running,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
    proof: Proof = False,  # noqa: FBT002 - FastAPI's form of a parameter
) -> ConsentPage:
    """List the consents on file, by id."""
    institution, most = running.institution, min(limit, MAX_PROVEN) if proof else limit
    rows = _store(institution).filed(after=cursor or "", most=most + 1)
    found, following = first_rows([_record(institution, row) for row in rows], limit=most)
    if proof:
        found = tuple(_proven(institution, record) for record in found)
    return ConsentPage(items=found, next=found[-1].consent if following else None)


def _proven(institution: Institution, record: ConsentRecord) -> ConsentRecord:
    """[CONSENT-29]: a bureau shows the grant too; a bank does not keep where that stands."""
    if record.status == "pending":
        return record
    engine, index = institution.engine, record.granted_index
    receipt = engine.receipt(
        newest_index(engine) if index is None else index, state_keys=(grant_key(OwnedId(record.consent)),)
    )
    return record.model_copy(update={"receipt": receipt.hex()})


@consents.get("/consents/{provider}/{consent}", permission="consents.read", codes=("api.not_found",))
def read_consent(provider: Owner, consent: OwnId, running: Running) -> ConsentRecord:
    """Tell how a consent on file stands."""
    name = f"{provider}/{consent}"
    # The one after the greatest id that is smaller: the id without its last digit comes before it.
    for row in _store(running.institution).filed(after=name[:-1], most=17):
        if row.consent == name:
            return _record(running.institution, row)
    raise not_found()


def _store(institution: Institution) -> ConsentStore:
    return ConsentStore(institution.database, cipher=institution.cipher)


def _record(institution: Institution, row: FiledConsent) -> ConsentRecord:
    value = institution.engine.state().get(grant_key(row.consent))
    if value is None:
        provider = row.consent.partition("/")[0]
        return ConsentRecord(
            consent=row.consent,
            provider=provider,
            recipient="",
            purpose="",
            status="pending",
            valid_from_ms=None,
            valid_to_ms=None,
            received_ms=row.received_ms,
            granted_index=None,
        )
    grant = grant_from_state(row.consent, value)
    return ConsentRecord(
        consent=row.consent,
        provider=grant.provider,
        recipient=grant.recipient,
        purpose=grant.purpose,
        status=grant.status_at(institution.engine.last_block()[1]),
        valid_from_ms=grant.valid_from_ms,
        valid_to_ms=grant.valid_to_ms,
        received_ms=row.received_ms,
        granted_index=row.granted_index,
    )


@consents.post(
    TAKE_IN_CONSENT.path,
    permission="consents.write",
    problems=(422,),
    codes=("node.role_wrong", "consent.already_granted", "consent.ceiling_exceeded", "ledger.entry_waits"),
)
def take_in_consent(message: ConsentSubmissionMessage, running: Running, caller: Caller) -> EntryPlace:
    """Check an enterprise's consent, put its grant on the ledger, and hand the artefact to the bank that it names.

    ``ledger.entry_waits`` says that it is taken in and kept back for a while: the bureau does the rest then by itself
    [CONSENT-32], and the same again tells the place of its grant.
    """
    with journaled(running, caller, act="consents.take_in"):
        try:
            return enterprises.take_in_consent(running.institution, message)
        except Unavailable as error:
            if error.code == ENTRY_WAITS:
                running.grant_later(bytes.fromhex(message.grant))
            raise


@consents.perform(
    FILE_ARTEFACT,
    permission="consents.write",
    problems=(422,),
    codes=("node.role_wrong", "consent.unknown", "consent.recipient_wrong"),
)
def file_artefact(message: ArtefactMessage, running: Running, caller: Caller) -> FiledArtefact:
    """Check an artefact that an enterprise handed over against the ledger, and keep it on this bank's file."""
    return performed(running, caller, FILE_ARTEFACT, message)


@consents.post(
    RELAY_STATEMENT.path,
    permission="consents.write",
    problems=(422,),
    codes=("consent.statement_wrong", "node.role_wrong"),
)
def relay_statement(message: ConsentStatement, running: Running, caller: Caller) -> RelayedStatement:
    """Put a pause, a resumption or a revocation on the ledger that a consent's own key signed."""
    with journaled(running, caller, act="consents.relay"):
        return enterprises.relay_statement(running.institution, message)


@consents.perform(
    REVOKE_FOR_LOST_KEY,
    permission="consents.write",
    codes=("node.role_wrong", "consent.unknown", "consent.step_invalid"),
)
def revoke_for_lost_key(lost: LostKey, running: Running, caller: Caller) -> EntryPlace:
    """End a consent whose key its enterprise lost, after identifying it again."""
    return performed(running, caller, REVOKE_FOR_LOST_KEY, lost)
