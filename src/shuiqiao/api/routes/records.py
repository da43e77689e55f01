"""``/records``, ``/pending``: records that a bureau finds and destroys, and acts that the ledger refused."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import records as api

records = Routes("records")

_OF_PENDING = ("node.pending_unclear", "node.outbox_foreign")


@records.perform(
    api.SEARCH_RECORDS,
    permission="records.read",
    codes=(
        "node.role_wrong",
        "standards.type_unknown",
        "vault.query_empty",
        "standards.field_unknown",
        "standards.reason_needed",
    ),
)
def search_records(asked: api.RecordSearch, running: Running, caller: Caller) -> api.FoundRecords:
    """Find records by taxpayer, number or field; what is looked for stands in the body, not in an address."""
    return performed(running, caller, api.SEARCH_RECORDS, asked)


@records.perform(
    api.PROVE_RECORD,
    permission="records.read",
    codes=(
        "node.role_wrong",
        "vault.batch_unknown",
        "vault.leaf_unknown",
        "standards.group_unknown",
        "standards.reason_needed",
    ),
)
def prove_record(chosen: api.RecordChoice, running: Running, caller: Caller) -> api.RecordEvidence:
    """Make a file that proves one record to a reader with the genesis; `shuiqiao verify` checks it offline."""
    return performed(running, caller, api.PROVE_RECORD, chosen)


@records.perform(api.LIST_CHANGED, permission="requests.read", codes=("node.role_wrong",))
def list_changed_records(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ChangedPage:
    """List records given to banks, or received by this bank, that were amended or erased since."""
    return performed(running, caller, api.LIST_CHANGED, PageQuery(limit=limit, cursor=cursor))


@records.perform(
    api.ERASE_RECORDS,
    permission="erasures.make",
    codes=("node.role_wrong", "vault.batch_unknown", "vault.busy"),
)
def erase_records(asked: api.RecordErasure, running: Running, caller: Caller) -> api.ErasedRecords:
    """Destroy records and say so on the ledger; nobody can bring them back."""
    return performed(running, caller, api.ERASE_RECORDS, asked)


@records.perform(api.REDO_PENDING, permission="jobs.manage", codes=_OF_PENDING)
def redo_pending(chosen: api.PendingChoice, running: Running, caller: Caller) -> api.DecidedWork:
    """Hand refused work to the ledger anew, a batch under a new id."""
    return performed(running, caller, api.REDO_PENDING, chosen)


@records.perform(api.ABANDON_PENDING, permission="jobs.manage", codes=_OF_PENDING)
def abandon_pending(chosen: api.PendingChoice, running: Running, caller: Caller) -> api.DecidedWork:
    """Give refused work up; its rows or its act may come again."""
    return performed(running, caller, api.ABANDON_PENDING, chosen)


@records.perform(api.LIST_PENDING, permission="jobs.read")
def list_pending(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.PendingPage:
    """List what waits for the ledger and what it refused."""
    return performed(running, caller, api.LIST_PENDING, PageQuery(limit=limit, cursor=cursor))
