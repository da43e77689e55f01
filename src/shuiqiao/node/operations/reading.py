"""The operations that only read a member's copy of the ledger and what lies beside it, and what performs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.resources import journal as journaled
from shuiqiao.client.resources import ledger as logged
from shuiqiao.client.resources import members as admitted
from shuiqiao.client.resources import oversight as overseen
from shuiqiao.client.resources import records as recorded
from shuiqiao.client.resources import upkeep as kept
from shuiqiao.client.resources.deliveries import LIST_DELIVERIES
from shuiqiao.client.resources.grades import EXPLAIN_GRADE
from shuiqiao.node.operations import audits, deliveries, grades, journal, ledger, oversight, records

if TYPE_CHECKING:
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.member_copy import MemberCopy


def perform_at_reader(operation: Operation[Sent, Told], message: Sent, *, reader: HomeReader) -> Told:
    """Perform an operation at a home that is looked at, and return what is told of it; raises what refuses it.

    Whoever calls enters it in the journal: a home that is looked at is not written here::

        perform_at_reader(LIST_MEMBERS, PageQuery(), reader=reader).items
    """
    told: Told = _OF_READERS[operation](reader, message)
    return told


def _of_copy(
    operation: Operation[Sent, Told], by: Callable[[MemberCopy, Sent], Told]
) -> tuple[Operation[Any, Any], Any]:
    """Return an operation with the function that performs it; the types hold that the forms of both are the same."""
    return operation, by


def _of_reader(
    operation: Operation[Sent, Told], by: Callable[[HomeReader, Sent], Told]
) -> tuple[Operation[Any, Any], Any]:
    return operation, by


OF_COPIES: Final[Mapping[Operation[Any, Any], Callable[[MemberCopy, Any], Any]]] = dict(
    [
        _of_copy(logged.LIST_ENTRIES, ledger.list_entries),
        _of_copy(admitted.READ_STANDING, ledger.read_standing),
        _of_copy(admitted.LIST_MEMBERS, ledger.list_members),
        _of_copy(admitted.LIST_EPOCHS, ledger.list_epochs),
        _of_copy(admitted.LIST_PROPOSALS, ledger.list_proposals),
    ]
)

_OF_READERS: Final[Mapping[Operation[Any, Any], Callable[[HomeReader, Any], Any]]] = {
    **OF_COPIES,
    **dict(
        [
            _of_reader(recorded.LIST_PENDING, records.list_pending_at),
            _of_reader(LIST_DELIVERIES, deliveries.list_deliveries_at),
            _of_reader(recorded.PROVE_RECORD, records.prove_record_at),
            _of_reader(recorded.LIST_CHANGED, records.list_changed_at),
            _of_reader(recorded.SEARCH_RECORDS, records.search_records_at),
            _of_reader(EXPLAIN_GRADE, grades.explain_grade_at),
            _of_reader(kept.AUDIT_LEDGER, audits.audit_at),
            _of_reader(kept.REVIEW_OBLIGATIONS, audits.review_at),
            _of_reader(overseen.LIST_STATISTICS, oversight.list_statistics_at),
            _of_reader(journaled.VERIFY_JOURNAL, journal.verify_journal_at),
        ]
    ),
}
