"""The alarms that an institution's node raises by itself: it looks every minute and says what stands since when.

[API-18]

A fork that this member's witness can prove to others goes onto the ledger, once. All else is told here: whoever reads
it judges. Nothing is stopped by an alarm; what must stop (a follower at a fork, a writer with a wrong clock) does so
where it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import structlog

from shuiqiao.base.clock import MS_PER_SECOND, iso_from_ms
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.clock_check import latest_ms, require_not_behind
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.local_ledger import LocalLedger
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.members.model import Role
from shuiqiao.node.jobs.model import JobKind
from shuiqiao.oversight.contract import ALARM
from shuiqiao.oversight.watch import watch_requests

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.jobs.model import RunningJob

ALARMS: Final = "alarms.look"
LOOK_EVERY_MS: Final = 60 * MS_PER_SECOND
MAX_NAMED: Final = 50
"""Alarms that one look names; it counts them all."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("shuiqiao")

_MAX_WORDS: Final = 160
_DIVERGED: Final = frozenset({"ledger.fork_detected", "ledger.consistency_broken", "ledger.witness_ahead"})
"""With these a witness says that its log is not the writer's."""


class AlarmKind(StrEnum):
    """What an alarm is about."""

    FORK = "fork"
    """The writer signed two histories."""
    MEMBER_DIVERGED = "member_diverged"
    """A member's copy of the log, or what it vouched for, is not what the blocks give."""
    REFUSAL_RATE = "refusal_rate"
    """A provider refuses most of what it is asked."""
    CLOCK = "clock"
    """This machine's clock, or another member's, is wrong."""
    REQUEST_UNANSWERED = "request_unanswered"
    """A request waits for its provider longer than it should."""
    REGISTER_OVERDUE = "register_overdue"
    """An incident was not reported in time, or a complaint not answered."""
    BLOCK_NOT_TAKEN_IN = "block_not_taken_in"
    """A part of this node failed when it was told of a new block, and may have missed it for good."""


WORDS_ZH: Final[Mapping[AlarmKind, str]] = {
    AlarmKind.FORK: "记账者签署了两份历史",
    AlarmKind.MEMBER_DIVERGED: "成员副本与账本不一致",
    AlarmKind.REFUSAL_RATE: "提供方拒绝率过高",
    AlarmKind.CLOCK: "时钟有误",
    AlarmKind.REQUEST_UNANSWERED: "请求逾时未答复",
    AlarmKind.REGISTER_OVERDUE: "事件未按时报告或投诉未按时答复",
    AlarmKind.BLOCK_NOT_TAKEN_IN: "本节点有部件未能处理新区块",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAlarm:
    """One thing that is wrong now. about: the member or request. since_ms: when a look first found it."""

    kind: AlarmKind
    about: str
    says: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    kind: AlarmKind
    about: str
    says: str


def alarm_duty(institution: Institution) -> JobKind:
    """Return the duty that looks for what a person has to be told of."""

    def look(running: RunningJob) -> Mapping[str, Any]:
        _accuse(institution)
        found = [*_looked(institution)]
        now_ms, before = institution.now_ms(), {(each.kind, each.about): each for each in standing(running.job.result)}
        alarms = [
            StandingAlarm(
                kind=each.kind,
                about=each.about,
                says=each.says[:_MAX_WORDS],
                since_ms=before[each.kind, each.about].since_ms if (each.kind, each.about) in before else now_ms,
            )
            for each in found[:MAX_NAMED]
        ]
        for each in alarms:
            if (each.kind, each.about) not in before:
                log.warning("alarm.raised", code=str(each.kind))
        return {"count": len(found), "alarms": [{**asdict(each), "kind": str(each.kind)} for each in alarms]}

    return JobKind(name=ALARMS, act=look, every_ms=LOOK_EVERY_MS)


def standing(result: Mapping[str, Any] | None) -> list[StandingAlarm]:
    """Return the alarms that the last look named; result: of the duty's job."""
    return [
        StandingAlarm(kind=AlarmKind(each["kind"]), about=each["about"], says=each["says"], since_ms=each["since_ms"])
        for each in (result or {}).get("alarms", ())
    ]


def _accuse(institution: Institution) -> None:
    """Put a fork that this member's witness can prove on the ledger; once, under an id that follows from the proof."""
    witness, parameters = institution.witness, institution.parameters
    if witness is None:
        return
    evidence = witness.evidence(parameters.origin)
    if evidence is None or institution.alarms.stands(evidence):
        return
    with suppress(ShuiqiaoError):
        # A writer that forked may take nothing any more; what stands here is told all the same.
        if any(row.kind == ALARM for row in institution.outbox.rows()):
            # What an earlier look signed is on its way: each look would keep another one until the writer is back.
            institution.outbox.resend()
        else:
            institution.alarms.accuse_of_fork(parameters.operator, evidence=evidence)


def _looked(institution: Institution) -> Iterator[_Found]:
    yield from _of_copies(institution)
    yield from _of_clocks(institution)
    yield from _of_requests(institution)
    yield from _of_listeners(institution)
    for entry in institution.registers.overdue():
        says = f"{entry.kind} {entry.seq} was due by {iso_from_ms(entry.due_ms)}"
        yield _Found(kind=AlarmKind.REGISTER_OVERDUE, about=f"register/{entry.seq}", says=says)


def _of_copies(institution: Institution) -> Iterator[_Found]:
    """Tell of the writer's two histories, and of members whose log is another."""
    engine, parameters = institution.engine, institution.parameters
    operator = str(parameters.operator)
    witness = institution.witness
    seen = None if witness is None else witness.alarm(parameters.origin)
    own = engine.alarm if isinstance(engine, FollowerLedger) else None
    for alarm in (seen, own):
        if alarm is not None:
            is_invalid = alarm.kind is ForkKind.BLOCK_INVALID
            kind = AlarmKind.MEMBER_DIVERGED if is_invalid else AlarmKind.FORK
            yield _Found(kind=kind, about=operator, says=f"{alarm.kind} at {alarm.own_size} leaves: {alarm.detail}")
            break
    if isinstance(engine, EmbeddedLedger):
        for member, refusal in engine.signer.missing().items():
            if refusal.code in _DIVERGED:
                yield _Found(kind=AlarmKind.MEMBER_DIVERGED, about=str(member), says=refusal.message)


def _of_clocks(institution: Institution) -> Iterator[_Found]:
    try:
        require_not_behind(now_ms=institution.now_ms(), block_ms=institution.engine.last_block()[1])
    except ShuiqiaoError as error:
        yield _Found(kind=AlarmKind.CLOCK, about=institution.member, says=error.message)
    for member, reason in institution.differing_clocks().items():
        yield _Found(kind=AlarmKind.CLOCK, about=member, says=reason)


def _of_requests(institution: Institution) -> Iterator[_Found]:
    """Tell of providers that refuse most, and of requests of or to this member that wait; a regulator sees all."""
    now_ms = latest_ms(now_ms=institution.now_ms(), block_ms=institution.engine.last_block()[1])
    found = watch_requests(institution.engine, decode=institution.decode, now_ms=now_ms)
    is_regulator = institution.settings.role is Role.REGULATOR
    for rate in found.refusing:
        says = f"{rate.refused} of {rate.decided} requests of a day were refused"
        yield _Found(kind=AlarmKind.REFUSAL_RATE, about=rate.provider, says=says)
    for request in found.unanswered:
        if is_regulator or institution.member in {request.recipient, request.provider}:
            says = f"{request.provider} has not answered since {iso_from_ms(request.made_ms)}"
            yield _Found(kind=AlarmKind.REQUEST_UNANSWERED, about=request.request, says=says)


def _of_listeners(institution: Institution) -> Iterator[_Found]:
    """Tell of what is to hear of every block and failed at one, until the node is started again."""
    if isinstance(institution.engine, LocalLedger):
        for each in institution.engine.listener_failures():
            says = f"{each.error} at block {each.height}, {each.count} times in all; start this node again"
            yield _Found(kind=AlarmKind.BLOCK_NOT_TAKEN_IN, about=each.listener, says=says)
