"""Lists the acts of this institution that the ledger has not accepted; a person redoes or abandons the refused ones.

Two stores hold such work: the outbox (signed transactions) and the vault (batches). What is only on its way needs
nobody; what the ledger refused stays until somebody decides, or until it has the same act by another transaction: then
nothing is left to decide. Abandoning an act also takes back what this institution
noted for it, so that it can be done anew; an application that was acknowledged is no note of this institution's: its
file is closed, with the cause [LENDING-10].
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import owned_id
from shuiqiao.exchange.contract import REQUEST
from shuiqiao.exchange.model import request_key
from shuiqiao.exchange.store import RecipientStore
from shuiqiao.lending.contract import APPLICATION, DECISION, application_key, decision_key
from shuiqiao.lending.store import LendingStore
from shuiqiao.members.model import Role
from shuiqiao.node.applications import WAIT_S
from shuiqiao.node.outbox import OutboxStore, settled_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.ledger.model import StateView, Transaction
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.member_copy import MemberCopy
    from shuiqiao.node.outbox import OutboxRow
    from shuiqiao.vault.service import Vault

BATCH = "batch"
"""What the kind column says of a batch of the vault."""

DELIVERY = "delivery"
"""What it says of a message that another member has not taken."""

AMENDMENT = "amendment"
"""What it says of what a batch of the vault supersedes; the id is the batch's."""

SETTLED = "the ledger has the same by another transaction 账本已有相同内容"
"""The reason that is told of refused work that settled itself."""

MAX_REASON = 500
"""Characters of what is told of work that is under way."""

_SHORTEST_NAME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWork:
    """One thing that is not known to be on the ledger.

    code, reason: why it was refused. While it is under way code is empty, and reason what this member waits for.
    """

    id: str
    kind: str
    code: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def pending_work(institution: Institution) -> list[PendingWork]:
    """Return everything that waits or was refused: of the vault, then the outbox, oldest deadline first."""
    vault = institution.vault if institution.settings.role is Role.TAX_BUREAU else None
    return _work(vault, institution.outbox.rows(), waits_for=institution.waits_for())


def pending_at(reader: HomeReader) -> tuple[list[PendingWork], list[PendingWork]]:
    """Return what waits or was refused at a home that is looked at, and apart from it what settles itself."""
    with reader.vault() as vault, reader.database() as database:
        return _listed(reader, vault, OutboxStore(database).rows())


def pending_of(institution: Institution) -> tuple[list[PendingWork], list[PendingWork]]:
    """Return the same of an institution that is open; nothing is settled by looking."""
    vault = institution.vault if institution.settings.role is Role.TAX_BUREAU else None
    return _listed(institution, vault, institution.outbox.rows())


def _listed(
    copy: MemberCopy, vault: Vault | None, rows: Sequence[OutboxRow]
) -> tuple[list[PendingWork], list[PendingWork]]:
    settled = settled_rows(rows, engine=copy.engine, decode=copy.decode)
    return _work(vault, [row for row in rows if row not in settled], waits_for=copy.waits_for()), _settled(settled)


def _work(vault: Vault | None, outbox: Sequence[OutboxRow], *, waits_for: str) -> list[PendingWork]:
    waits = waits_for[:MAX_REASON]
    kinds = () if vault is None else ((BATCH, vault.pending()), (AMENDMENT, vault.refused_amendments()))
    return [
        *(
            PendingWork(id=row.batch.hex(), kind=kind, code=row.refusal_code, reason=row.refusal or waits)
            for kind, rows in kinds
            for row in rows
        ),
        *(
            PendingWork(id=row.leaf.hex(), kind=row.kind, code=row.refusal_code, reason=row.refusal or waits)
            for row in outbox
        ),
    ]


def settle(institution: Institution) -> list[PendingWork]:
    """Remove refused acts that the ledger has by another transaction of the same author, and return them.

    E.g. ``[work.id for work in settle(institution)]``; what is left is ``pending_work(institution)``.
    """
    return _settled(institution.outbox.settle())


def _settled(rows: Sequence[OutboxRow]) -> list[PendingWork]:
    return [PendingWork(id=row.leaf.hex(), kind=row.kind, code="", reason=SETTLED) for row in rows]


def settle_and_describe(institution: Institution) -> str:
    """Settle what settles itself, and return what was settled; empty where nothing was."""
    return describe_settled(settle(institution))


def describe_settled(settled: Sequence[PendingWork]) -> str:
    """Return a line that says what settled itself; empty where nothing did."""
    return "; ".join(f"settled 已了结 {work.kind} {work.id[:16]}: {work.reason}" for work in settled)


def describe_refused(institution: Institution) -> str:
    """Return a line that says how much was refused and waits for a person; empty where nothing did."""
    count = sum(1 for work in pending_work(institution) if work.code)
    return f"{count} refused by the ledger, for you to decide: shuiqiao pending list" if count else ""


def redo(institution: Institution, name: str) -> PendingWork:
    """Hand refused work to the ledger anew: a batch under a new id, an act signed again; raises what refuses it.

    What the ledger has by another transaction is not handed in again, but settled: code is empty then.
    name: the beginning of exactly one id. Raises InvalidInput ``node.pending_unclear``, Denied ``node.outbox_foreign``.
    """
    work = _named(institution, name)
    settled = [each for each in settle(institution) if each.id == work.id]
    if settled:
        return settled[0]
    if work.kind == BATCH:
        institution.vault.redo(bytes.fromhex(work.id), anchor=institution.outbox)
    elif work.kind == AMENDMENT:
        institution.vault.redo_amendment(bytes.fromhex(work.id), anchor=institution.outbox)
    else:
        institution.outbox.redo(_row(institution, work))
    return work


def abandon(institution: Institution, name: str) -> PendingWork:
    """Give refused work up, with what was noted for it: newer versions that supersede nothing are erased.

    So is a message given up that another member refused or could not be told [PEER-11]. Raises InvalidInput
    ``node.pending_unclear``.
    """
    work = _named(institution, name, more=_undelivered(institution))
    if work.kind == DELIVERY:
        institution.deliveries.abandon(bytes.fromhex(work.id))
        return work
    if work.kind == BATCH:
        institution.vault.abandon(bytes.fromhex(work.id), anchor=institution.outbox)
        return work
    if work.kind == AMENDMENT:
        institution.vault.abandon_amendment(bytes.fromhex(work.id), anchor=institution.outbox)
        return work
    row = _row(institution, work)
    _take_back(institution, row)
    institution.outbox.abandon(row)
    return work


def _undelivered(institution: Institution) -> list[PendingWork]:
    return [
        PendingWork(id=each.id.hex(), kind=DELIVERY, code=each.code, reason=each.reason)
        for each in institution.deliveries.waiting()
    ]


def _named(institution: Institution, name: str, *, more: Sequence[PendingWork] = ()) -> PendingWork:
    refused = [work for work in (*pending_work(institution), *more) if work.code]
    found = [work for work in refused if work.id.startswith(name.lower())]
    if len(name) < _SHORTEST_NAME or len(found) != 1:
        raise InvalidInput(
            "node.pending_unclear",
            f"{name[:64]!r} begins the id of {len(found)} of {len(refused)} things that were refused; "
            f"{_SHORTEST_NAME} or more of its characters that begin no other are needed",
            next_step="shuiqiao pending list",
        )
    return found[0]


def _row(institution: Institution, work: PendingWork) -> OutboxRow:
    return next(row for row in institution.outbox.rows() if row.leaf.hex() == work.id)


def _take_back(institution: Institution, row: OutboxRow) -> None:
    """Undo what this institution noted before it handed an act in, unless the ledger has that act by other bytes."""
    tx, database, cipher = institution.outbox.decode(row.raw), institution.database, institution.cipher
    if _stands(tx, institution.outbox.state()):
        return
    if tx.kind == REQUEST:
        RecipientStore(database, cipher=cipher).remove_request(tx.body.request)
    elif tx.kind == APPLICATION:
        institution.applications.end_refused(
            tx.body.application, code=row.refusal_code, cause=row.refusal, wait_s=WAIT_S
        )
    elif tx.kind == DECISION:
        LendingStore(database, cipher=cipher).withdraw_decision(tx.body.application)


def _stands(tx: Transaction, state: StateView) -> bool:
    """Whether the ledger has what an act was to put there: it was signed twice, and the other copy arrived."""
    keys = {
        REQUEST: lambda: request_key(owned_id(tx.author, tx.body.request)),
        APPLICATION: lambda: application_key(tx.author, tx.body.application),
        DECISION: lambda: decision_key(tx.author, tx.body.application),
    }
    return tx.kind in keys and state.get(keys[tx.kind]()) is not None
