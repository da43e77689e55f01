"""The vault's types: what was anchored, what an ingest did, what a check found. Nothing here does I/O.

A *batch* is up to 2^k records of one standard whose leaves hang under one root on the ledger. A *leaf* is one record:
(batch id, index) names it for ever, whatever becomes of its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import Committed, StateView

BATCH_ID_BYTES = 16

SALT_BYTES = 16
"""One random salt per disclosure group and record: nobody can confirm a guess at a group by its hash."""

HASH_BYTES = 32

DEFAULT_BATCH_DEPTH = 14
"""Full batches hold 2^14 = 16,384 records."""

MAX_BATCH_DEPTH = 16
"""Largest depth of a batch tree; 65,536 records bound the memory of one batch and one proof."""


class ErasureReason(StrEnum):
    """Why records were destroyed."""

    DATA_LIFE_OVER = "data_life_over"
    RETENTION_OVER = "retention_over"
    TAXPAYER_REQUEST = "taxpayer_request"
    LEGAL_ORDER = "legal_order"


class LeafStatus(StrEnum):
    """What the ledger says today of one anchored record."""

    LIVE = "live"
    SUPERSEDED = "superseded"
    ERASED = "erased"


class LeafRef(msgspec.Struct, frozen=True, gc=False):
    """One record's place: its batch and its index in the batch's tree. An answer makes one for every record."""

    batch: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFact:
    """What the ledger holds of a batch. period_from, period_to: ISO dates. root: 32 bytes over ``count`` leaves.

    erased: the whole batch was. changed: how often one of its leaves was superseded or erased by itself.
    """

    standard: str
    period_from: str
    period_to: str
    count: int
    depth: int
    root: bytes
    erased: bool
    changed: int


BatchLookup = Callable[[bytes], BatchFact | None]
"""Batch id of one author -> what the ledger holds of it, None if it has none; ``contract.batch_lookup`` makes one."""


class LeafLookup(Protocol):
    """(batch id, index) of one author -> status of the leaf on the ledger; ``contract.LedgerLeaves`` is one."""

    def __call__(self, batch: bytes, index: int, /) -> LeafStatus:
        """Return the status of a leaf."""
        ...

    def is_unchanged(self, batch: bytes) -> bool:
        """Tell whether every leaf of a batch is live, so that none need be asked for [VAULT-ANCHOR-7]."""
        ...


class PendingBatch(msgspec.Struct, frozen=True):
    """A batch that is not known to be on the ledger. refusal_code, refusal: why the ledger refused it, else empty."""

    batch: bytes
    standard: str
    count: int
    refusal_code: str = ""
    refusal: str = ""


class Anchor(Protocol):
    """The ledger as the vault needs it; the ledger's LedgerSubmitter is one."""

    @property
    def member(self) -> MemberId:
        """The institution whose batches these are: their ids belong to it."""
        ...

    def submit(self, kind: str, body: msgspec.Struct) -> Committed:
        """Sign and commit in the institution's name; return once it is durable, or raise what refused it."""
        ...

    def state(self) -> StateView:
        """Return the ledger's state after the last committed block."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """How a vault works.

    batch_depth: full batches hold 2^batch_depth records. workers: processes that validate, encode and hash beside the
    one that writes; 0 does all in one process. parallel_from_rows: sources with fewer rows are done in one process,
    because starting workers costs most of a second.
    """

    batch_depth: int = DEFAULT_BATCH_DEPTH
    workers: int = 2
    parallel_from_rows: int = 200_000

    def __post_init__(self) -> None:
        if not 0 <= self.batch_depth <= MAX_BATCH_DEPTH:
            raise InvalidInput(
                "vault.setting_invalid", f"batch_depth is {self.batch_depth} where 0 to {MAX_BATCH_DEPTH} is allowed"
            )

    @property
    def batch_records(self) -> int:
        """Records in a full batch."""
        return 1 << self.batch_depth


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredBatch:
    """A batch that is on the ledger. index: of its anchor in the log, None where an earlier run had put it there."""

    batch: bytes
    standard: str
    records: int
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of every row of an ingest: read = ingested + quarantined + duplicates [VAULT-INGEST-1].

    records_superseding: how many of the ingested are newer versions of records that were there. anchors: batches
    anchored by this run, those finished for an interrupted run included. report: the NDJSON file that lists each row
    kept out. anchored: those batches, in the order of the ledger.
    """

    records_read: int
    records_ingested: int
    records_quarantined: int
    duplicates_reported: int
    records_superseding: int
    anchored: tuple[AnchoredBatch, ...]
    report: Path

    @property
    def anchors(self) -> int:
        """How many batches were anchored."""
        return len(self.anchored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a check of the stored bytes found. place: file name, and record where known. code: stable."""

    code: str
    place: str
    message: str
