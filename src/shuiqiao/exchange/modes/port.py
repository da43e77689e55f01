"""The port behind which a mode stands: what it answers with, and how that is proven.

A provider calls ``answer``, a recipient ``prove``. What is the same for every mode is theirs and not the mode's: the
checks of a request, the manifest, sealing, and the entries on the ledger. A mode has content of its own form, which
nobody else reads, and proves it into a type of its own: records for one, a statement or a score for another.

What both ends compute together is one computation in two halves: the recipient does its ``half`` while it asks, the
provider the other one when it makes the content of its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date

    from shuiqiao.base.ids import Uscc
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.changes import Leaves
    from shuiqiao.exchange.model import AnswerManifest, RequestMessage
    from shuiqiao.privacy.model import Revealed
    from shuiqiao.vault.disclosure import Disclosure
    from shuiqiao.vault.model import Anchor, BatchLookup, LeafLookup, LeafRef


class RecordSource(Protocol):
    """Where records come from; the vault is one."""

    def disclose(
        self, *, uscc: Uscc, groups: Mapping[str, Sequence[str]], period_from: date, period_to: date
    ) -> Disclosure:
        """Return a taxpayer's live records of some types, only the groups named, with their proofs."""
        ...

    def settle(self, *, uscc: Uscc, type_ids: Iterable[str], anchor: Anchor) -> None:
        """Note what the ledger has of a taxpayer's records by now: a reading that is the same after this lacks none."""
        ...

    def revision(self) -> int:
        """Return a number that changes with every change of what is held."""
        ...

    def count_live(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> Mapping[str, int]:
        """Return the number of a taxpayer's live records of one type by month."""
        ...

    def live_leaves(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> Sequence[LeafRef]:
        """Return the places of a taxpayer's live records of one type."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a mode answers with.

    content: makes what is sealed, in the mode's own form; called once, when the reading is known to hold. counts: of
    the records it rests on, by standard id. leaves: which of them it gives. is_computed: it was computed from records
    and shows none, so that its manifest tells nothing of them, and holds what came out. shown_millibits: how much is in
    the fields that it shows.
    """

    content: Callable[[], bytes]
    counts: Mapping[str, int]
    leaves: Leaves
    is_computed: bool = False
    shown_millibits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """A recipient's half of what it computes together with a provider, beside the request that asks for it.

    way: reaches the provider before it is asked, and holds the way to it until both halves ended. run: does the half
    and returns what this end has of the result, which says nothing without the other end's. give_up: ends a run that
    waits in another thread.
    """

    way: Callable[[], AbstractContextManager[None]]
    run: Callable[[], bytes]
    give_up: Callable[[], None]


class AnswerMode(Protocol):
    """One way to answer a request, at both of its ends."""

    def verify_asked(self, message: RequestMessage) -> None:
        """Return if a request asks for what this mode can give; raises Denied or InvalidInput.

        Both ends call it: a recipient before it asks, a provider each time an answer is to leave.
        """
        ...

    def reveals(self, message: RequestMessage) -> Revealed:
        """Return what the answer to a request reveals at most, for the leakage account; raises as ``verify_asked``."""
        ...

    def shown_millibits(self, content: bytes) -> int | None:
        """Return how much is in the fields that an answer shows; None for one that was computed."""
        ...

    def answer(self, message: RequestMessage, *, uscc: Uscc, source: RecordSource) -> Answer:
        """Return the answer to a request that was allowed; raises what the source raises."""
        ...

    def half(self, message: RequestMessage) -> Half | None:
        """Return what the recipient does while it asks; None where it only asks."""
        del message
        return None

    def prove(
        self,
        content: bytes,
        *,
        message: RequestMessage,
        artefact: ConsentArtefact,
        manifest: AnswerManifest,
        batch_of: BatchLookup,
        status_of: LeafLookup | None,
        share: bytes | None,
    ) -> object:
        """Return what an answer's content says, in the mode's own type, every part of it proven.

        It is held against the ledger, and against what the provider's manifest counts. status_of: None for an answer on
        file, whose records may have been superseded since. share: what the recipient's ``half`` ended with. Raises
        InvalidInput, IntegrityError or Conflict naming what does not hold.
        """
        ...

    def leaves(self, content: bytes) -> Leaves:
        """Return the records that an answer gives to its recipient, who is told when they change; it may give none."""
        ...
