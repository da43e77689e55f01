"""``/members``, ``/network``, ``/governance``: who is in the network, and how far this copy of its ledger is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources.members import (
    LIST_EPOCHS,
    LIST_MEMBERS,
    LIST_PROPOSALS,
    READ_STANDING,
    EpochPage,
    GovernanceStanding,
    MemberPage,
    MemberRecord,
    NetworkStatus,
    ProposalPage,
    ProposalRecord,
)
from shuiqiao.client.wire import Nothing
from shuiqiao.members.epoch import read_epoch
from shuiqiao.members.roster import roster
from shuiqiao.node.governance import freeze_of, member_rows, proposal_rows

members = Routes("members")

MemberName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,31}$", examples=["first-bank"])]
ProposalId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", examples=["77" * 32])]
Row = TypeVar("Row")


@members.perform(LIST_MEMBERS, permission="ledger.read")
def list_members(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> MemberPage:
    """List every member there ever was, by id."""
    return performed(running, caller, LIST_MEMBERS, PageQuery(limit=limit, cursor=cursor))


@members.get("/members/{member}", permission="ledger.read", codes=("api.not_found",))
def read_member(member: MemberName, running: Running) -> MemberRecord:
    """Tell of one member."""
    for row in member_rows(running.institution.engine.state()):
        if row["member"] == member:
            return MemberRecord(**row)
    raise not_found()


@members.get("/network", permission="ledger.read")
def read_network(running: Running) -> NetworkStatus:
    """Tell which network this is and how far this institution's copy of the ledger is."""
    institution = running.institution
    engine, parameters = institution.engine, institution.parameters
    state, (height, time_ms), checkpoint = engine.state(), engine.last_block(), engine.checkpoint()
    epoch, freeze = read_epoch(state), freeze_of(state)
    return NetworkStatus(
        network=parameters.network.hex(),
        suite=parameters.suite,
        engine=institution.settings.engine,
        member=institution.member,
        role=institution.settings.role,
        members=len(roster(state)),
        epoch=epoch.number,
        quorum=epoch.quorum,
        frozen_until=None if freeze is None else str(freeze["until"]),
        height=height,
        block_time_ms=time_ms,
        entries=checkpoint.size,
        root=checkpoint.root.hex(),
        waits_for=institution.waits_for()[:2_100],
    )


@members.perform(READ_STANDING, permission="ledger.read")
def read_standing(running: Running, caller: Caller) -> GovernanceStanding:
    """Tell which epoch is in force, how many cosignatures count, and whether the network stands still."""
    return performed(running, caller, READ_STANDING, Nothing())


@members.perform(LIST_EPOCHS, permission="ledger.read", codes=("ledger.quorum_not_reached",))
def list_epochs(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> EpochPage:
    """List whose signatures counted from when to when."""
    return performed(running, caller, LIST_EPOCHS, PageQuery(limit=limit, cursor=cursor))


@members.perform(LIST_PROPOSALS, permission="ledger.read")
def list_proposals(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> ProposalPage:
    """List the newest proposals and how their votes stand, oldest first."""
    return performed(running, caller, LIST_PROPOSALS, PageQuery(limit=limit, cursor=cursor))


@members.get("/governance/proposals/{proposal}", permission="ledger.read", codes=("api.not_found",))
def read_proposal(proposal: ProposalId, running: Running) -> ProposalRecord:
    """Tell of one proposal."""
    for row in proposal_rows(running.institution.engine.state(), now_ms=running.institution.outbox.now_ms()):
        if row["proposal"] == proposal:
            return ProposalRecord(**row)
    raise not_found()


def first_rows(rows: Sequence[Row], *, limit: int) -> tuple[tuple[Row, ...], bool]:
    """Return the first rows of a list, and whether it goes on after them."""
    return tuple(rows[:limit]), len(rows) > limit
