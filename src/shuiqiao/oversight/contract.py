"""The ledger's rules for oversight: a regulator freezes and unfreezes the network, any member raises an alarm.

Rule: docs/spec/members.md, [MEMBER-19] to [MEMBER-21]. A regulator freezes the network for a time, and not again and
again; while it is frozen the ledger accepts governance kinds only, so that members can still vote, replace keys, raise
alarms and lift the freeze. Freezing moves nothing and decides nothing about anybody's records.
An alarm commits to evidence that the member that raised it keeps.

::

    gate/network                   {"freeze", "author", "until_ms", "reason_digest"}
    gate/freeze/<id>               when the last freeze by a regulator began, in ms
    oversight/alarm/<author>/<id>  {"subject", "accused", "evidence_digest", "height", "time_ms"}
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.base.wire import Digest, Id, MemberName, TimeMs
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.ledger.state.machine import NETWORK_GATE
from shuiqiao.ledger.transactions.kinds import GATE_ROOM
from shuiqiao.members.action import Unfreeze, transaction_act
from shuiqiao.members.contract import require_approved
from shuiqiao.members.gate import executed_key, verify_lifting
from shuiqiao.members.model import FREEZE_PAUSE_MS, MAX_FREEZE_MS, Role
from shuiqiao.members.roster import member_record, require_role

FREEZE = "oversight.freeze"
UNFREEZE = "oversight.unfreeze"
ALARM = "oversight.alarm"


class AlarmSubject(StrEnum):
    """What an alarm is about."""

    FORK = "fork"
    """Two checkpoints of one network that do not extend each other."""
    WRONG_RESULT = "wrong_result"
    """A member vouched for a state or root that the blocks do not give."""
    FALSE_RECORD = "false_record"
    """An anchored record, answer or decision does not hold what it commits to."""
    FAULT = "fault"
    """Anything else that a member of the network must look at."""


class OversightFreezeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stop every kind but those of governance, until a moment."""

    until_ms: TimeMs
    reason_digest: Digest


class OversightUnfreezeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lift one freeze, named by the digest of its act, so that it cannot lift a later one.

    proposal: the approved one that says so; null for a regulator, or once the time of the freeze has passed.
    """

    freeze: Digest
    proposal: Digest | None


class OversightAlarmBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Report evidence by its digest."""

    alarm: Id
    subject: AlarmSubject
    accused: MemberName | None
    evidence_digest: Digest


def alarm_key(author: str, alarm: bytes) -> str:
    """Return the state key of a member's alarm."""
    return f"oversight/alarm/{owned_id(author, alarm)}"


def freeze_key(regulator: str) -> str:
    """Return the state key of the last freeze by a regulator."""
    return f"gate/freeze/{regulator}"


def _check_freeze(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-19]: a regulator, for a time, and not again soon."""
    body: OversightFreezeBody = tx.body
    require_role(state, tx.author, Role.REGULATOR)
    if (current := state.get(NETWORK_GATE)) is not None:
        raise Conflict("oversight.already_frozen", f"{current['author']} froze the network already")
    length_ms = body.until_ms - ctx.time_ms
    if not 0 < length_ms <= MAX_FREEZE_MS:
        raise InvalidInput(
            "oversight.freeze_too_long", f"a freeze of {length_ms} ms where 1 to {MAX_FREEZE_MS} ms are allowed"
        )
    last_ms = state.get(freeze_key(tx.author))
    if last_ms is not None and ctx.time_ms < last_ms + FREEZE_PAUSE_MS:
        raise Denied(
            "oversight.freeze_repeated",
            f"{tx.author} froze the network at {last_ms} ms; again after {last_ms + FREEZE_PAUSE_MS} ms",
            next_step="put suspensions of the members concerned to the vote",
        )


def _apply_freeze(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: OversightFreezeBody = tx.body
    value = {
        "freeze": transaction_act(tx, state),
        "author": str(tx.author),
        "until_ms": body.until_ms,
        "reason_digest": body.reason_digest,
    }
    state.put(NETWORK_GATE, value)
    state.put(freeze_key(tx.author), ctx.time_ms)
    return (Event(name="network.frozen", attributes={"author": tx.author, "until_ms": body.until_ms}),)


def _check_unfreeze(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-20]: a regulator at any time, any member once the time has passed or members voted for it."""
    body: OversightUnfreezeBody = tx.body
    role = member_record(state, tx.author)["role"]
    current = verify_lifting(state, freeze=body.freeze)
    if body.proposal is not None:
        require_approved(state, body.proposal, Unfreeze(freeze=body.freeze), ctx)
    elif role != Role.REGULATOR and ctx.time_ms <= current["until_ms"]:
        raise Denied(
            "oversight.freeze_lasts",
            f"the network is frozen until {current['until_ms']} ms, block time is {ctx.time_ms} ms",
        )


def _apply_unfreeze(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: OversightUnfreezeBody = tx.body
    state.delete(NETWORK_GATE)
    if body.proposal is not None:
        state.put(executed_key(body.proposal), transaction_act(tx, state))
    return (Event(name="network.unfrozen", attributes={"author": tx.author}),)


def _check_alarm(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MEMBER-21]: any member, about the network or a member of it, once under one id."""
    body: OversightAlarmBody = tx.body
    member_record(state, tx.author)
    if body.accused is not None:
        member_record(state, MemberId(body.accused))
    if state.get(alarm_key(tx.author, body.alarm)) is not None:
        raise Conflict("oversight.alarm_repeated", f"alarm {body.alarm.hex()} is on the ledger already")


def _apply_alarm(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: OversightAlarmBody = tx.body
    value = {
        "subject": str(body.subject),
        "accused": body.accused or "",
        "evidence_digest": body.evidence_digest,
        "height": ctx.height,
        "time_ms": ctx.time_ms,
    }
    state.put(alarm_key(tx.author, body.alarm), value)
    attributes = {"alarm": body.alarm.hex(), "author": tx.author, "subject": value["subject"]}
    return (Event(name="oversight.alarm_raised", attributes=attributes),)


KINDS: tuple[Kind, ...] = (
    Kind(
        name=FREEZE,
        room=GATE_ROOM,
        version=1,
        body=OversightFreezeBody,
        check=_check_freeze,
        apply=_apply_freeze,
        governance=True,
    ),
    Kind(
        name=UNFREEZE,
        room=GATE_ROOM,
        version=1,
        body=OversightUnfreezeBody,
        check=_check_unfreeze,
        apply=_apply_unfreeze,
        governance=True,
    ),
    Kind(
        name=ALARM,
        room="oversight",
        version=1,
        body=OversightAlarmBody,
        check=_check_alarm,
        apply=_apply_alarm,
        governance=True,
    ),
)
"""oversight.freeze, oversight.unfreeze, oversight.alarm."""
