"""The port behind which a mode stands: what it answers with, and how that is proven.

A provider calls ``answer``, a recipient ``prove``. What is the same for every mode is theirs and not the mode's: the
checks of a request, the manifest, sealing, and the entries on the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from shuiqiao.base.ids import Uscc
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.changes import Leaves
    from shuiqiao.exchange.manifest import Inventory
    from shuiqiao.exchange.model import RequestMessage
    from shuiqiao.vault.disclosure import DisclosedRecords, Disclosure
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
    """What a mode answers with. content: what is sealed. counts: records by standard id. leaves: which they are."""

    content: bytes
    counts: Mapping[str, int]
    leaves: Leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What an answer says, proven. inventories: what it holds by type, to be held against the manifest."""

    disclosure: Disclosure
    records: DisclosedRecords
    inventories: Mapping[str, Inventory]


class AnswerMode(Protocol):
    """One way to answer a request, at both of its ends."""

    def answer(self, message: RequestMessage, *, uscc: Uscc, source: RecordSource) -> Answer:
        """Return the answer to a request that was allowed; raises what the source raises."""
        ...

    def prove(
        self,
        content: bytes,
        *,
        message: RequestMessage,
        artefact: ConsentArtefact,
        batch_of: BatchLookup,
        status_of: LeafLookup | None,
    ) -> Proven:
        """Return what an answer's content says, every part of it proven against the ledger.

        status_of: None for an answer on file, whose records may have been superseded since. Raises InvalidInput,
        IntegrityError or Conflict naming what does not hold.
        """
        ...
