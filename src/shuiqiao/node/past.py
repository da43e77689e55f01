"""Answers what held as of a day, a size or a checkpoint: for a home, an auditor's folder, and a server's callers.

The log is executed again up to that moment (``oversight/as_of``). A checkpoint that somebody kept is compared with what
comes of it, and is what proofs are made under: each is a receipt that ``shuiqiao verify`` checks with the genesis
alone, and proves what the state behind that very checkpoint held. Under any other moment a receipt proves the entry
alone, by the newest checkpoint; that nothing lifted it until then is what the replay says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.node.governance import member_rows
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.home_reader import StoredLedger
from shuiqiao.node.published.verification import load_known_checkpoint
from shuiqiao.oversight.as_of import Moment, Past, PastRow, Subject, replay_until

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import Block, LedgerEngine, NetworkParameters
    from shuiqiao.node.home.ledger_folder import LedgerFolder

MAX_LEAVES_ASKED: Final = 500_000
"""Leaves that a server executes again for a caller; for more, the command is asked, which any member has."""

MAX_PROOFS: Final = 1_000
"""Receipts of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedMoment:
    """A moment as somebody asked for it. known: the checkpoint that it is, where one was named."""

    moment: Moment
    known: Checkpoint | None = None

    @classmethod
    def from_text(cls, text: str, *, now_ms: int) -> AskedMoment:
        """Return what a day (2026-11-30), a size in leaves, or the path of a kept checkpoint stands for.

        Raises InvalidInput ``node.moment_unclear``, and what ``Moment.of_day`` and ``load_known_checkpoint`` raise.
        """
        if text.isascii() and text.isdigit():
            return cls(moment=Moment(size=int(text)))
        try:
            day = date.fromisoformat(text)
        except (ValueError, OverflowError) as error:
            path = Path(text)
            if not path.is_file():
                raise InvalidInput(
                    "node.moment_unclear",
                    f"{text[:100]!r} is no day such as 2026-11-30, no number of leaves, and no file of a checkpoint",
                ) from error
            known = load_known_checkpoint(path)
            return cls(moment=Moment(size=known.size), known=known)
        return cls(moment=Moment.of_day(day, now_ms=now_ms))


def moment_of(*, day: str | None, size: int | None, now_ms: int) -> Moment:
    """Return the moment that a caller asks for [API-15]: now where neither is named, the earlier one where both are.

    day: of the calendar, such as 2026-11-30. Raises InvalidInput ``oversight.day_not_over``.
    """
    if day is None:
        return Moment(size=size, judged_ms=now_ms if size is None else None)
    return replace(Moment.of_day(date.fromisoformat(day), now_ms=now_ms), size=size)


def past_of_folder(ledger: LedgerFolder, asked: AskedMoment, *, progress: Progress = no_progress) -> Past:
    """Return what held in a ledger folder at a moment.

    E.g. ``past_of_folder(LedgerFolder.of_home(home), AskedMoment.from_text("2026-11-30", now_ms=now_ms)).height``.
    Raises what ``StoredLedger`` and ``replay_until`` raise; IntegrityError ``ledger.pin_contradicted``.
    """
    stored = StoredLedger(ledger)
    try:
        blocks = stored.blocks(from_height=1)
        past = replay_until(blocks, machine=ledger.machine(), moment=asked.moment, progress=progress)
        _require_known(past, asked.known, parameters=ledger.parameters)
        return past
    finally:
        stored.close()


def _require_known(past: Past, known: Checkpoint | None, *, parameters: NetworkParameters) -> None:
    if known is not None and (known.origin, known.root) != (parameters.origin, past.root):
        raise IntegrityError(
            "ledger.pin_contradicted",
            f"the checkpoint is of {known.origin[:100]!r}, {known.size} leaves, root {known.root.hex()}; this ledger "
            f"is of {parameters.origin!r} and has root {past.root.hex()} there",
        )


def prove_rows(
    ledger: LedgerFolder, rows: Iterable[PastRow], *, known: Checkpoint | None
) -> Iterator[tuple[PastRow, bytes]]:
    """Iterate over rows with the receipt of each.

    known: with all signatures of its epoch, under which the state is proven too. Raises InvalidInput
    ``node.proofs_too_many``; what ``verify_note`` and ``StoredLedger.proving`` raise.
    """
    stored = StoredLedger(ledger)
    try:
        checkpoint = known
        if known is not None:
            policy = stored.epochs.trail.policy_at(known.size)
            checkpoint = verify_note(known.note, policy=policy, suite=get_suite(ledger.parameters.suite))
        with stored.proving(checkpoint) as prove:
            for number, row in enumerate(rows):
                if number >= MAX_PROOFS:
                    raise InvalidInput("node.proofs_too_many", f"more than {MAX_PROOFS} rows where each is proven")
                yield row, prove(row.index, row.keys if known is not None else ())
    finally:
        stored.close()


def told_rows(past: Past, subject: Subject, *, about: str = "") -> list[dict[str, Any]]:
    """Return rows as JSON objects."""
    return [told_row(row) for row in past.rows(subject, about=about)]


def told_row(row: PastRow) -> dict[str, Any]:
    """Return a row as a JSON object."""
    return {
        "id": row.id,
        "author": row.author,
        "recipient": row.recipient,
        "status": row.status,
        "index": row.index,
        "time_ms": row.time_ms,
        "detail": dict(row.detail),
    }


def told_moment(past: Past) -> dict[str, Any]:
    """Return where in the log a past is, as a JSON object."""
    return {
        "height": past.height,
        "size": past.size,
        "root": past.root.hex(),
        "time": iso_from_ms(past.time_ms),
    }


def told_members(past: Past) -> list[dict[str, Any]]:
    """Return who was a member then, as ``members list`` shows it."""
    return member_rows(past.state)


class PastReader:
    """The past of a running institution, for its callers: one replay at a time, and the last one is kept.

    ::

        reader.at(Moment.of_day(date(2026, 11, 30), now_ms=now_ms)).rows(Subject.GIVEN, about="bank-east")
    """

    def __init__(self, engine: LedgerEngine, *, parameters: NetworkParameters) -> None:
        self._engine = engine
        self._parameters = parameters
        self._lock = threading.Lock()
        self._kept: tuple[Moment, Past] | None = None

    def at(self, moment: Moment) -> Past:
        """Return what held at a moment.

        Raises InvalidInput ``node.replay_too_long``; what ``replay_until`` raises.
        """
        # A server lets one caller in at a time: which one is a matter of its doors.
        with self._lock:
            kept = self._kept
            if kept is not None and kept[0] == moment and not self._has_grown(kept):
                return kept[1].judged(moment)
            blocks = _bounded(self._engine.blocks(from_height=1))
            past = replay_until(blocks, machine=network_machine(self._parameters), moment=moment)
            self._kept = (moment, past)
            return past

    def _has_grown(self, kept: tuple[Moment, Past]) -> bool:
        """Tell whether the log has blocks within a moment that what is kept of it does not have."""
        moment, past = kept
        following = next(iter(self._engine.blocks(from_height=past.height + 1)), None)
        return following is not None and moment.reaches(following)


def _bounded(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        if block.first_index + len(block.transactions) >= MAX_LEAVES_ASKED:
            raise InvalidInput(
                "node.replay_too_long", f"more than {MAX_LEAVES_ASKED} leaves would be executed again for this question"
            )
        yield block
