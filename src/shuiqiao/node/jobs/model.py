"""What a job is, which states it goes through, and what is said of it.

::

    waiting --claimed--> running --> done | failed | cancelled
       ^                    |
       |<-- tried again ----|          later each time, until its attempts are used up
       |<-- lease ended ----|          whoever ran it is gone
       |<-- confirmed -- held          it stopped to be confirmed by a person

A *duty* is a job that is done again and again: after every run it waits for its next time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

MAX_PARAMETERS_BYTES: Final = 16_384
"""Of a job's parameters, and of its result, as JSON: they name what is worked on and how it ended."""

MAX_CAUSE_CHARS: Final = 2_000
"""Of the words that say why a job failed or waits; what an error says beyond them is not kept."""


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it stands. Times are in milliseconds."""

    id: bytes
    kind: str
    parameters: Mapping[str, Any]
    state: JobState
    created_ms: int
    due_ms: int
    """Not before."""
    every_ms: int | None
    """Of a duty: from the end of one run to the next."""
    attempts: int
    max_attempts: int
    owner: str | None
    """Which process runs it: host, process id, and a number of its own."""
    lease_until_ms: int | None
    """Until when it is believed to run; its owner keeps putting that off."""
    step: str
    done: int
    total: int | None
    code: str
    """Why it failed, waits to be tried again, or is held; empty where nothing went wrong."""
    message: str
    cancel_asked: bool
    confirmed: Mapping[str, Any] | None
    """What a person confirmed: the result that it stopped with."""
    result: Mapping[str, Any] | None
    finished_ms: int | None
    request_id: str | None
    """Of the request by which it was asked for, under which it goes on to other institutions; None of a duty."""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "id": self.id.hex(),
            "kind": self.kind,
            "state": str(self.state),
            "parameters": dict(self.parameters),
            "created_ms": self.created_ms,
            "due_ms": self.due_ms,
            "every_ms": self.every_ms,
            "attempts": self.attempts,
            "max_attempts": self.max_attempts,
            "owner": self.owner,
            "progress": {"step": self.step, "done": self.done, "total": self.total},
            "cause": {"code": self.code, "message": self.message} if self.code else None,
            "cancel_asked": self.cancel_asked,
            "result": self.result,
            "finished_ms": self.finished_ms,
            "request_id": self.request_id,
        }


class RunningJob(Protocol):
    """What an act is given of the job that it does."""

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        ...

    def progress(self, step: str, done: int, total: int | None, /) -> None:
        """Say how far it is; a ``Progress``. Raises JobInterrupted where the act must end here."""
        ...


Act = Callable[[RunningJob], Mapping[str, Any]]
"""Does a job and returns its result. It may be run again from its beginning at any time, so what is done stays done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """What jobs of one kind do."""

    name: str
    act: Act
    max_attempts: int = 5
    every_ms: int | None = None
    """Of a duty."""
    resumes: bool = False
    """Whether a duty goes on with what a stopped process left: then it is due at once where a server starts."""
    one_at_a_time: bool = False
    """Whether one process does one job of this kind at a time; the others wait, and are no failed attempts."""
    clear: Callable[[Job], None] | None = None
    """Removes what was kept for a job, once it has ended for good."""


class JobInterrupted(BaseException):
    """Raised by ``progress`` to end an act: it was cancelled, its process ends, or another process has the job.

    Like an interruption by a person it is no error, so that what handles errors on the way lets it pass.
    """


class ConfirmationWanted(Exception):
    """Raised by an act that stops to be confirmed. offer: what is to be confirmed, which the confirmed run gets."""

    def __init__(self, message: str, *, offer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.offer = offer
