"""Works on a bureau's records, and decides what the ledger refused, for a message of the API.

Commands that read members or entries load this with the other readers; what reads records or writes is imported where
it is done, for databases and columns take longer to load than a list of members to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.ids import Uscc
from shuiqiao.base.progress import no_progress
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources import ingests, own_files, records
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.paging import page_after
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.sensitivity import require_reason
from shuiqiao.vault.contract import LedgerLeaves
from shuiqiao.vault.model import ErasureReason, LeafRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from shuiqiao.base.progress import Progress
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.exchange.changes import ChangedRecord
    from shuiqiao.ledger.model import StateView
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.member_copy import MemberCopy
    from shuiqiao.node.pending import PendingWork
    from shuiqiao.vault.model import IngestReport
    from shuiqiao.vault.search import FoundRecord
    from shuiqiao.vault.service import Vault


def take_in_files(
    institution: Institution, named: own_files.OwnFiles, progress: Progress = no_progress
) -> own_files.TakenIn:
    """Take in files of this machine; raises what ``Vault.ingest`` raises."""
    known = None if named.record_type is None else institution.catalogue.get(named.record_type)
    files = [own_files.path_of(text) for text in named.files]
    return told_of(
        institution, institution.vault.ingest(files, anchor=institution.outbox, record_type=known, progress=progress)
    )


def told_of(institution: Institution, report: IngestReport) -> own_files.TakenIn:
    """Return what is told of an ingest that has ended."""
    from shuiqiao.node.pending import describe_refused, settle_and_describe

    settled, refused = settle_and_describe(institution), describe_refused(institution)
    return _told(report, settled=settled, refused=refused)


def amend_by_file(institution: Institution, named: own_files.OwnFile) -> own_files.TakenIn:
    """Supersede records by corrected ones in a file of this machine; raises what ``Vault.amend`` raises."""
    known = None if named.record_type is None else institution.catalogue.get(named.record_type)
    file = own_files.path_of(named.file)
    return _told(institution.vault.amend(file, anchor=institution.outbox, record_type=known))


def _told(report: IngestReport, *, settled: str = "", refused: str = "") -> own_files.TakenIn:
    return own_files.TakenIn(
        records_read=report.records_read,
        records_ingested=report.records_ingested,
        records_superseding=report.records_superseding,
        records_quarantined=report.records_quarantined,
        duplicates_reported=report.duplicates_reported,
        anchors=report.anchors,
        report=str(report.report),
        anchored=tuple(
            own_files.AnchoredFileBatch(
                index=entry.index, batch=entry.batch.hex(), type=entry.standard, records=entry.records
            )
            for entry in report.anchored
        ),
        settled=settled,
        refused=refused,
    )


def search_records(institution: Institution, asked: records.RecordSearch) -> records.FoundRecords:
    """Find records of this bureau; raises what ``found_records`` raises."""
    return found_records(asked, vault=institution.vault, state=institution.engine.state(), member=institution.member)


def search_records_at(reader: HomeReader, asked: records.RecordSearch) -> records.FoundRecords:
    """Find records in the files of a home that is looked at; raises what ``found_records`` raises."""
    with reader.records() as vault:
        return found_records(asked, vault=vault, state=reader.engine.state(), member=reader.member)


def found_records(asked: records.RecordSearch, *, vault: Vault, state: StateView, member: str) -> records.FoundRecords:
    """Find records in a vault, and tell by the ledger how each stands.

    Raises Denied ``standards.reason_needed``, and what ``Vault.find`` raises.
    """
    from shuiqiao.vault.search import RecordQuery, shown_fields

    catalogue = load_catalogue()
    for kind in list(catalogue) if asked.record_type is None else [catalogue.get(asked.record_type)]:
        require_reason(kind, {*shown_fields(kind), *asked.values}, reason=asked.reason)
    query = RecordQuery(
        uscc=None if asked.taxpayer is None else Uscc(asked.taxpayer),
        record_type=None if asked.record_type is None else catalogue.get(asked.record_type),
        number=asked.number,
        values=asked.values,
    )
    found = vault.find(query, status_of=LedgerLeaves(state, member))
    return records.FoundRecords(records=tuple(map(_version, found)))


def _version(found: FoundRecord) -> records.RecordVersion:
    return records.RecordVersion(
        type=found.standard,
        key={name: value if isinstance(value, int | None) else str(value) for name, value in found.key.items()},
        day=found.day.isoformat(),
        status=found.status,
        version=found.version,
        versions=found.versions,
        batch=found.batch.hex(),
        leaf=found.index,
        anchor=found.anchored,
        file=found.file,
        row=found.row,
    )


def prove_record(institution: Institution, chosen: records.RecordChoice) -> records.RecordEvidence:
    """Return a file that proves one record; raises what ``Vault.prove_to_outsider`` raises."""
    return _evidence(chosen, vault=institution.vault, copy=institution)


def prove_record_at(reader: HomeReader, chosen: records.RecordChoice) -> records.RecordEvidence:
    """Return the same from the files of a home that is looked at."""
    with reader.records() as vault:
        return _evidence(chosen, vault=vault, copy=reader)


def _evidence(chosen: records.RecordChoice, *, vault: Vault, copy: MemberCopy) -> records.RecordEvidence:
    kind = vault.record_type_of(bytes.fromhex(chosen.batch))
    shown = [field.name for field in kind.fields if field.group in chosen.groups]
    require_reason(kind, shown, reason=chosen.reason)
    data = vault.prove_to_outsider(
        LeafRef(bytes.fromhex(chosen.batch), chosen.leaf),
        groups=chosen.groups,
        ledger=copy.engine,
        decode=copy.decode,
        author=copy.member,
    )
    return records.RecordEvidence(evidence=data.hex())


def list_changed(institution: Institution, asked: PageQuery) -> records.ChangedPage:
    """Return the records of answers that were amended or erased since; raises Denied ``node.role_wrong``."""
    is_bank = institution.settings.role is Role.BANK
    changed = institution.recipient.changed_records() if is_bank else institution.provider.changed_records()
    return _changed_page(changed, asked)


def list_changed_at(reader: HomeReader, asked: PageQuery) -> records.ChangedPage:
    """Return the same of a home that is looked at; raises what ``changed_records_at`` raises."""
    from shuiqiao.node.changed_records import changed_records_at

    return _changed_page(changed_records_at(reader, now_ms=reader.now_ms()), asked)


def _changed_page(changed: Iterable[ChangedRecord], asked: PageQuery) -> records.ChangedPage:
    rows = [
        records.ChangedRecord(
            taxpayer=entry.taxpayer,
            other=entry.other,
            request=entry.request.hex(),
            type=entry.standard,
            batch=entry.leaf.batch.hex(),
            leaf=entry.leaf.index,
            status=entry.status,
        )
        for entry in changed
    ]
    items, following = page_after(rows, asked, name=lambda row: f"{row.request}.{row.batch}.{row.leaf}")
    return records.ChangedPage(items=items, next=following)


def erase_records(institution: Institution, asked: records.RecordErasure) -> records.ErasedRecords:
    """Destroy records and say so on the ledger; raises what ``Vault.erase`` raises."""
    from shuiqiao.node.accounts.opening import require_no_users

    require_no_users(institution, f"erasure {asked.batch} --reason {asked.reason}")
    chosen = sorted(set(asked.leaves))
    reason = ErasureReason(asked.reason)
    institution.vault.erase(bytes.fromhex(asked.batch), chosen, reason=reason, anchor=institution.outbox)
    return records.ErasedRecords(batch=asked.batch, erased=tuple(chosen), reason=asked.reason)


def redo_pending(institution: Institution, chosen: records.PendingChoice) -> records.DecidedWork:
    """Hand refused work to the ledger anew; raises what ``pending.redo`` raises."""
    from shuiqiao.node import pending

    return records.DecidedWork(**pending.redo(institution, chosen.work).as_json())


def abandon_pending(institution: Institution, chosen: records.PendingChoice) -> records.DecidedWork:
    """Give refused work up; raises what ``pending.abandon`` raises."""
    from shuiqiao.node import pending

    return records.DecidedWork(**pending.abandon(institution, chosen.work).as_json())


def list_pending(institution: Institution, asked: PageQuery) -> records.PendingPage:
    """Return what waits for the ledger and what it refused."""
    from shuiqiao.node import pending

    return _pending_page(*pending.pending_of(institution), asked=asked)


def list_pending_at(reader: HomeReader, asked: PageQuery) -> records.PendingPage:
    """Return the same of a home that is looked at."""
    from shuiqiao.node import pending

    return _pending_page(*pending.pending_at(reader), asked=asked)


def _pending_page(
    waiting: Sequence[PendingWork], settled: Sequence[PendingWork], *, asked: PageQuery
) -> records.PendingPage:
    rows = [
        records.PendingRecord(**work.as_json(), is_settled=is_settled)
        for works, is_settled in ((waiting, False), (settled, True))
        for work in works
    ]
    items, following = page_after(rows, asked, name=lambda row: f"{row.kind}:{row.id}")
    return records.PendingPage(items=items, next=following)


def quarantine_of(institution: Institution) -> Path:
    """Return the folder of the rows that ingests kept out; raises Denied ``node.role_wrong`` where none are."""
    require_role(institution.settings, Role.TAX_BUREAU)
    return institution.home.vault / "quarantine"


def list_quarantined(institution: Institution, asked: ingests.QuarantineQuestion) -> ingests.QuarantinedRowPage:
    """Return rows that an ingest kept out or met again, and why; raises InvalidInput ``api.not_found``."""
    from shuiqiao.vault.ingest.quarantine import find_report, read_rows

    path = find_report(quarantine_of(institution), asked.ingest)
    if path is None:
        raise not_found()
    first = int(asked.cursor or 0)
    rows = list(read_rows(path, first=first, limit=asked.limit + 1))
    items = tuple(
        ingests.QuarantinedRow(
            file=row["file"],
            row=row["row"],
            field=row["field"],
            rule=row["rule"],
            value=row["value"],
            rows=row.get("rows"),
        )
        for row in rows[: asked.limit]
    )
    return ingests.QuarantinedRowPage(items=items, next=str(first + asked.limit) if len(rows) > asked.limit else None)
