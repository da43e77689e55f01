"""Reads a member's copy of the ledger: its entries, the receipts of them, who is a member, what is put to the vote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from shuiqiao.client.resources import ledger, members
from shuiqiao.ledger.transactions.listing import list_transactions
from shuiqiao.ledger.transactions.looking_up import height_of
from shuiqiao.members.epoch import read_epoch
from shuiqiao.node.governance import epoch_rows, freeze_of, member_rows, proposal_rows
from shuiqiao.node.operations.paging import MAX_PROVEN, page_after

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.wire import Nothing
    from shuiqiao.ledger.model import Block, Transaction
    from shuiqiao.node.member_copy import MemberCopy

MAX_SCANNED: Final = 20_000
"""Leaves that one question looks at: a filter that fits little gets an empty page and where to go on."""


def list_entries(copy: MemberCopy, asked: ledger.EntryQuestion) -> ledger.EntryPage:
    """Return transactions in the order of the log, from a leaf index on; raises what ``receipt`` raises."""
    first, limit = int(asked.cursor or 0), min(asked.limit, MAX_PROVEN) if asked.proof else asked.limit
    page = entries_from(copy, first, limit=limit, kind=asked.kind, author=asked.author)
    if not asked.proof:
        return page
    proven = (each.model_copy(update={"receipt": copy.engine.receipt(each.index).hex()}) for each in page.items)
    return page.model_copy(update={"items": tuple(proven)})


def entries_from(
    copy: MemberCopy,
    first: int,
    *,
    limit: int,
    kind: str | None = None,
    author: str | None = None,
    fits: Callable[[Transaction], bool] | None = None,
) -> ledger.EntryPage:
    """Return a page of entries from a leaf index on, of those that fit.

    ::

        page = entries_from(institution, 0, limit=100, kind="anchor.commit")
    """
    blocks = ScannedBlocks(copy, first=first)
    page = list_transactions(
        blocks, decode=copy.decode, limit=limit, first_index=first, kind=kind, author=author, fits=fits
    )
    following = blocks.next_index if page.next_index is None else page.next_index
    return ledger.EntryPage(
        items=tuple(
            ledger.EntrySummary(
                index=entry.index,
                height=entry.height,
                time_ms=entry.time_ms,
                kind=entry.kind,
                author=entry.author,
                id=entry.id.hex(),
            )
            for entry in page.transactions
        ),
        next=None if following is None else str(following),
    )


class ScannedBlocks:
    """Blocks from a leaf on, as far as one question may look.

    next_index: where a further one begins, None at the end of the log.
    """

    def __init__(self, copy: MemberCopy, *, first: int) -> None:
        self.next_index: int | None = None
        self._blocks = copy.engine.blocks(from_height=height_of(copy.engine, first))

    def __iter__(self) -> Iterator[Block]:
        scanned = 0
        for block in self._blocks:
            if scanned >= MAX_SCANNED:
                self.next_index = block.first_index
                return
            scanned += len(block.transactions) + 1
            yield block


def receipt_of(copy: MemberCopy, asked: ledger.ReceiptQuestion) -> bytes:
    """Return the receipt of a transaction; raises what ``LedgerEngine.receipt`` raises."""
    return copy.engine.receipt(asked.index, state_keys=asked.state_key)


def read_standing(copy: MemberCopy, _asked: Nothing) -> members.GovernanceStanding:
    """Tell which epoch is in force, and whether the network stands still."""
    state = copy.engine.state()
    epoch, freeze = read_epoch(state), freeze_of(state)
    return members.GovernanceStanding(
        epoch=epoch.number,
        quorum=epoch.quorum,
        frozen=None if freeze is None else members.FreezeStanding(**freeze),
    )


def list_members(copy: MemberCopy, asked: PageQuery) -> members.MemberPage:
    """Return every member there ever was, by id."""
    rows = [members.MemberRecord(**row) for row in member_rows(copy.engine.state())]
    items, following = page_after(rows, asked, name=lambda each: each.member)
    return members.MemberPage(items=items, next=following)


def list_epochs(copy: MemberCopy, asked: PageQuery) -> members.EpochPage:
    """Return whose signatures counted from when to when; raises what ``epoch_rows`` raises."""
    rows = [members.EpochRecord(**row) for row in epoch_rows(copy)]
    items, following = page_after(rows, asked, name=lambda each: str(each.number))
    return members.EpochPage(items=items, next=following)


def list_proposals(copy: MemberCopy, asked: PageQuery) -> members.ProposalPage:
    """Return the newest proposals and how their votes stand, oldest first."""
    rows = proposal_rows(copy.engine.state(), now_ms=copy.now_ms())
    records = [members.ProposalRecord(**row) for row in rows]
    items, following = page_after(records, asked, name=lambda each: each.proposal)
    return members.ProposalPage(items=items, next=following)
