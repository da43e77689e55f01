"""What people of an institution enter in its registers, and what the registers say of sharing and of deadlines.

An entry is never changed but by being closed, once, with words that say what became of it: an incident was reported, a
complaint answered, an assessment withdrawn. Who entered and who closed it stands in the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import new_id
from shuiqiao.base.visible import visible, visible_line
from shuiqiao.node.registers.model import (
    COMPLAINT_MS,
    MAX_ASSESSMENT_MS,
    MAX_WORDS,
    REPORT_WITHIN_MS,
    Finding,
    RegisterEntry,
    RegisterKind,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.registers.store import RegisterStore


class Registers:
    """The registers of one institution.

    ::

        entry = registers.assess("first-bank", finding=Finding.ACCEPTABLE, words="scores at source", until_ms=until_ms)
        registers.require_assessment("first-bank")
    """

    def __init__(
        self, store: RegisterStore, *, now_ms: Callable[[], int], entropy: Entropy, is_required: bool = False
    ) -> None:
        """is_required: whether data are shared with nobody for whom there is no valid assessment."""
        self._store = store
        self._now_ms = now_ms
        self._entropy = entropy
        self._is_required = is_required

    def assess(self, member: str, *, finding: Finding, words: str, until_ms: int) -> RegisterEntry:
        """Enter an assessment of sharing data with a member. words: its scope. until_ms: the last moment it is good.

        Raises InvalidInput ``node.assessment_period``, ``node.register_words``.
        """
        now_ms = self._now_ms()
        if not now_ms < until_ms <= now_ms + MAX_ASSESSMENT_MS:
            raise InvalidInput(
                "node.assessment_period",
                f"an assessment of {iso_from_ms(now_ms)} cannot be good until {iso_from_ms(until_ms)}: "
                f"{iso_from_ms(now_ms + MAX_ASSESSMENT_MS)} at most",
            )
        return self._add(RegisterKind.ASSESSMENT, member=member, grade=finding, due_ms=until_ms, words=words)

    def report_incident(self, *, severity: Severity, words: str, found_ms: int) -> RegisterEntry:
        """Enter an incident, whose time to be reported runs from when it was found.

        Raises InvalidInput ``node.incident_ahead``, ``node.register_words``.
        """
        if found_ms > self._now_ms():
            raise InvalidInput(
                "node.incident_ahead", f"an incident cannot be found at {iso_from_ms(found_ms)}: not yet"
            )
        due_ms = found_ms + REPORT_WITHIN_MS[severity]
        return self._add(RegisterKind.INCIDENT, grade=severity, due_ms=due_ms, words=words)

    def complain(self, *, words: str) -> RegisterEntry:
        """Enter a complaint about the use of data; raises InvalidInput ``node.register_words``."""
        return self._add(RegisterKind.COMPLAINT, due_ms=self._now_ms() + COMPLAINT_MS, words=words)

    def close(self, seq: int, *, words: str) -> RegisterEntry:
        """Close an entry with what became of it.

        Raises InvalidInput ``node.register_unknown``, ``node.register_words``; Conflict ``node.register_closed``.
        """
        found = self._store.entry(seq)
        if found is None:
            raise InvalidInput("node.register_unknown", f"the registers have no entry {seq}")
        if not self._store.close(found, at_ms=self._now_ms(), outcome=_worded(words)):
            raise Conflict("node.register_closed", f"entry {seq} was closed before, and stays as it is")
        closed = self._store.entry(seq)
        assert closed is not None
        return closed

    def entries(self, *, after: int, most: int) -> list[RegisterEntry]:
        """Return the entries behind a number, in their order."""
        return self._store.entries(after=after, most=most)

    def overdue(self) -> list[RegisterEntry]:
        """Return incidents and complaints that are open beyond their time, the first due first."""
        now_ms = self._now_ms()
        return [entry for entry in self._store.open_entries() if entry.is_overdue(now_ms)]

    def is_assessed(self, member: str) -> bool:
        """Tell whether there is an assessment by which data may be shared with a member now."""
        now_ms = self._now_ms()
        return any(entry.permits(member, now_ms=now_ms) for entry in self._store.open_entries())

    def require_assessment(self, member: str) -> None:
        """Return if data may be shared with a member; raises Denied ``node.assessment_missing``."""
        if self._is_required and not self.is_assessed(member):
            raise Denied(
                "node.assessment_missing",
                f"sharing data with {member} was not assessed, or the assessment is over or found it unacceptable",
            )

    def _add(self, kind: RegisterKind, *, due_ms: int, words: str, member: str = "", grade: str = "") -> RegisterEntry:
        entry = RegisterEntry(
            seq=0,
            id=new_id(self._entropy).hex(),
            kind=kind,
            member=member,
            grade=str(grade),
            opened_ms=self._now_ms(),
            due_ms=due_ms,
            closed_ms=None,
            words=_worded(words),
            outcome=None,
        )
        kept = self._store.entry(self._store.add(entry))
        assert kept is not None
        return kept


def _worded(words: str) -> str:
    if not 0 < len(words.strip()) <= MAX_WORDS or len(words) > MAX_WORDS:
        raise InvalidInput(
            "node.register_words", f"{len(words)} characters where 1 to {MAX_WORDS} say what it is about"
        )
    if visible(words) != words:
        raise InvalidInput("node.register_words", f"{visible_line(words)[:100]!r} has characters that nobody sees")
    return words
