"""What held as of a moment gone by: the log is executed again up to it, and the state that comes of it is asked.

Rows say what was live then (consents, anchored batches) and what each bank had been given by then, each with the place
in the log of the entry that made it so, for which a member gives out the receipt. A consent stands as its window says
at the end of the day that is asked for, today at this moment, whether or not a block is as late as that; as of a size
in leaves, by the time of the last block within it.

LIMIT: the state is kept in memory while it is executed, as in the audit. What people read at an institution is in its
journal and not on the ledger; the rows of who was given data say what left an institution.

    moment = Moment.of_day(date(2026, 11, 30), now_ms=now_ms)
    past = replay_until(engine.blocks(from_height=1), machine=machine, moment=moment)
    [row.id for row in past.rows(Subject.CONSENTS, about="bank-east")]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND, iso_from_ms
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id, split_owned_id
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.consent.contract import GRANT
from shuiqiao.consent.model import Status, grant_from_state, grant_key
from shuiqiao.exchange.contract import DELIVER
from shuiqiao.exchange.model import RequestStatus, request_key
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.replay.replay import Level, MemoryLedger, replay_block
from shuiqiao.members.roster import roster
from shuiqiao.vault.contract import COMMIT, batch_key

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView, Transaction
    from shuiqiao.ledger.state.machine import StateMachine

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""

_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_GIVEN: Final = frozenset({RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED})


def end_of_day_ms(day: date) -> int:
    """Return the end of a day, UTC, in ms; 2026-11-30 is over at 1796083200000."""
    return (day.toordinal() + 1 - _FIRST_DAY) * MS_PER_DAY


class Subject(StrEnum):
    """What is asked about."""

    CONSENTS = "consents"
    """Those active or paused."""
    ANCHORS = "anchors"
    """Batches of records whose root was on the ledger and that were not destroyed, grades among them."""
    GIVEN = "given"
    """Answers that had been delivered to a bank, whatever became of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When: before a time in ms, within the first leaves of the log, or both; neither of them is now."""

    before_ms: int | None = None
    size: int | None = None
    judged_ms: int | None = field(default=None, compare=False)
    """At which time windows are judged; None for the time of the last block. It says nothing of which blocks count."""

    @classmethod
    def of_day(cls, day: date, *, now_ms: int) -> Self:
        """Return the end of a day, UTC, or of today this moment.

        Raises InvalidInput ``oversight.day_not_over`` for a day after today: what will hold then nobody knows.
        """
        today = datetime.fromtimestamp(now_ms / MS_PER_SECOND, tz=UTC).date()
        if day > today:
            raise InvalidInput(
                "oversight.day_not_over",
                f"{day.isoformat()} is not over, nor has it begun: today is {today.isoformat()} (UTC)",
            )
        end_ms = end_of_day_ms(day)
        return cls(before_ms=end_ms, judged_ms=min(end_ms - 1, now_ms))

    def reaches(self, block: Block) -> bool:
        """Tell whether a block is of before the end of this moment."""
        is_within = self.size is None or block.first_index + len(block.transactions) < self.size
        return is_within and (self.before_ms is None or block.time_ms < self.before_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRow:
    """One thing that held. index, time_ms: of the entry that made it so. keys: of the state that hold it."""

    id: str
    author: str
    recipient: str
    status: str
    index: int
    time_ms: int
    detail: Mapping[str, Any]
    keys: tuple[str, ...]


@dataclass(slots=True)
class _Entries:
    """Where in the log the entries stand that rows are made of, by the name of what they made."""

    of: dict[str, dict[OwnedId, tuple[int, int]]] = field(default_factory=lambda: {GRANT: {}, COMMIT: {}, DELIVER: {}})

    def note(self, tx: Transaction, *, index: int, time_ms: int) -> None:
        """Take note of an accepted transaction."""
        if tx.kind in self.of:
            self.of[tx.kind][_name_of(tx)] = (index, time_ms)


def _name_of(tx: Transaction) -> OwnedId:
    """Return what a grant, an anchor or a delivery is of: of a delivery, the bank's request."""
    if tx.kind == DELIVER:
        return OwnedId(tx.body.request)
    return owned_id(tx.author, tx.body.consent if tx.kind == GRANT else tx.body.batch)


class Past:
    """The ledger as it stood after a block."""

    def __init__(self, ledger: MemoryLedger, entries: _Entries, *, judged_ms: int | None = None) -> None:
        self._ledger = ledger
        self._entries = entries
        self._judged_ms = judged_ms

    @property
    def height(self) -> int:
        """Height of the last block that is looked at; 0 before the first."""
        return self._ledger.height

    @property
    def size(self) -> int:
        """Leaves up to it."""
        return self._ledger.size

    @property
    def root(self) -> bytes:
        """Root over them."""
        return self._ledger.root

    @property
    def time_ms(self) -> int:
        """Time of that block; of the genesis before the first."""
        return self._ledger.time_ms

    @property
    def state(self) -> StateView:
        """The state behind it."""
        return self._ledger.state

    def judged(self, moment: Moment) -> Past:
        """Return the same past with windows judged at the time of a moment, itself where that is the same."""
        if moment.judged_ms == self._judged_ms:
            return self
        return Past(self._ledger, self._entries, judged_ms=moment.judged_ms)

    def require_member(self, name: str) -> None:
        """Return if somebody was a member then; raises Denied ``members.unknown``."""
        if name not in roster(self.state):
            raise Denied("members.unknown", f"{name[:100]!r} was not a member of this network then")

    def rows(self, subject: Subject, *, about: str = "") -> Iterator[PastRow]:
        """Iterate over what held, in the order of the log. about: only where a member is author or recipient."""
        by = {Subject.CONSENTS: self._consents, Subject.ANCHORS: self._anchors, Subject.GIVEN: self._given}[subject]
        return (row for row in by() if about in {"", row.author, row.recipient})

    def _consents(self) -> Iterator[PastRow]:
        for name, (index, time_ms) in self._entries.of[GRANT].items():
            key = grant_key(name)
            grant = grant_from_state(name, self.state.get(key))
            status = grant.status_at(self.time_ms if self._judged_ms is None else self._judged_ms)
            if status in {Status.ACTIVE, Status.PAUSED}:
                detail = {
                    "purpose": str(grant.purpose),
                    "valid_from_ms": grant.valid_from_ms,
                    "valid_to_ms": grant.valid_to_ms,
                }
                yield PastRow(
                    id=name,
                    author=grant.provider,
                    recipient=grant.recipient,
                    status=str(status),
                    index=index,
                    time_ms=time_ms,
                    detail=detail,
                    keys=(key,),
                )

    def _anchors(self) -> Iterator[PastRow]:
        for name, (index, time_ms) in self._entries.of[COMMIT].items():
            author, batch = split_owned_id(name)
            key = batch_key(author, batch)
            fact = self.state.get(key)
            if not fact["erased"]:
                detail = {part: fact[part] for part in ("standard", "period_from", "period_to", "count", "changed")}
                yield PastRow(
                    id=name,
                    author=author,
                    recipient="",
                    status="live",
                    index=index,
                    time_ms=time_ms,
                    detail=detail,
                    keys=(key,),
                )

    def _given(self) -> Iterator[PastRow]:
        for name, (index, time_ms) in self._entries.of[DELIVER].items():
            key = request_key(name)
            request = self.state.get(key)
            if request["status"] in _GIVEN:
                yield PastRow(
                    id=name,
                    author=request["provider"],
                    recipient=split_owned_id(name)[0],
                    status=request["status"],
                    index=index,
                    time_ms=time_ms,
                    detail={part: request[part] for part in ("consent", "purpose", "mode")},
                    keys=(key,),
                )


def replay_until(
    blocks: Iterable[Block], *, machine: StateMachine, moment: Moment, progress: Progress = no_progress
) -> Past:
    """Execute blocks from height 1 up to a moment, and return what held then.

    Raises IntegrityError ``oversight.replay_differs`` for a block that does not follow from those before it;
    InvalidInput ``oversight.day_before_network``, ``ledger.size_unknown`` where no block ends at that size; what
    ``replay_block`` raises.
    """
    ledger, entries = MemoryLedger(machine), _Entries()
    if moment.before_ms is not None and moment.before_ms <= ledger.time_ms:
        raise InvalidInput(
            "oversight.day_before_network",
            f"that day ended at {iso_from_ms(moment.before_ms)}, the network began at {iso_from_ms(ledger.time_ms)}",
        )
    for block in blocks:
        if not moment.reaches(block):
            break
        ledger.begin_block()
        execution = replay_block(ledger, block, level=Level.EXECUTED)
        if execution.result.entry != block.entry:
            raise IntegrityError(
                "oversight.replay_differs",
                f"block {block.height} does not follow from the blocks before it: shuiqiao audit says more",
            )
        for index, tx in enumerate(execution.result.accepted, start=block.first_index):
            entries.note(tx, index=index, time_ms=block.time_ms)
        ledger.follow(execution, block)
        if ledger.height % _TELL_EVERY == 0:
            progress("execute the log again 重新执行日志", ledger.height, None)
    if moment.before_ms is None and moment.size not in {None, ledger.size}:
        raise InvalidInput(
            "ledger.size_unknown",
            f"no block of this log ends at {moment.size} leaves; the last one before ends at {ledger.size}",
        )
    ledger.begin_block()
    return Past(ledger, entries, judged_ms=moment.judged_ms)
