"""Files of a home's own machine that its owner has taken in: named over the home's socket, not sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import Field

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.operation import Operation
from shuiqiao.client.resources.jobs import JobRecord
from shuiqiao.client.wire import Count, Id, Name, Wire, example

MAX_FILES: Final = 10_000
"""Most files of one ingest."""

PathText = Annotated[str, Field(min_length=1, max_length=3 * 4_096, description="Each byte outside URLs as %xx")]


def path_text(path: Path) -> str:
    """Return a path as it goes over the wire: its bytes need not be UTF-8."""
    return quote_from_bytes(os.fsencode(path))


def path_of(text: str) -> Path:
    """Return the path that a text stands for; raises InvalidInput ``client.path_invalid`` for one with a zero byte."""
    found = unquote_to_bytes(text)
    if b"\0" in found:
        raise InvalidInput("client.path_invalid", f"{text[:100]!r} is no path: it holds a zero byte")
    return Path(os.fsdecode(found))


def path_from_root(text: str) -> Path:
    """Return the path that a text stands for where it begins at the root.

    Raises InvalidInput ``client.path_invalid`` for any other: the folder at which it begins is not the caller's.
    """
    found = path_of(text)
    if not found.is_absolute():
        raise InvalidInput("client.path_invalid", f"{text[:100]!r} does not begin at the root")
    return found


class OwnFiles(Wire):
    """Files of records to take in."""

    model_config = example(files=["/srv/tax/invoices.parquet"], record_type=None)

    files: Annotated[tuple[PathText, ...], Field(min_length=1, max_length=MAX_FILES)]
    record_type: Name | None = None
    """If it cannot be seen from the columns."""


class OwnFile(Wire):
    """A file of corrected records."""

    model_config = example(file="/srv/tax/corrected.csv", record_type=None)

    file: PathText
    record_type: Name | None = None
    """If it cannot be seen from the columns."""


_ANCHORED = {"index": 12, "batch": "5e" * 16, "type": "invoice_issued@2", "records": 4096}


class AnchoredFileBatch(Wire):
    """One batch of records. index: leaf index of its anchor, none where an earlier run anchored it."""

    model_config = example(**_ANCHORED)

    index: Count | None
    batch: Id
    type: Name
    records: Count


class TakenIn(Wire):
    """What became of the rows of files."""

    model_config = example(
        records_read=5000,
        records_ingested=4990,
        records_superseding=2,
        records_quarantined=7,
        duplicates_reported=3,
        anchors=1,
        report="/srv/bureau/vault/quarantine/20260105T081500.418Z-4711-3.ndjson",
        anchored=[_ANCHORED],
        settled="",
        refused="",
    )

    records_read: Count
    records_ingested: Count
    records_superseding: Count
    records_quarantined: Count
    duplicates_reported: Count
    anchors: Count
    report: str
    """The file that lists each row kept out."""
    anchored: tuple[AnchoredFileBatch, ...]
    settled: str
    """What the ledger had refused before and has by now, in words; empty for nothing."""
    refused: str
    """How much the ledger refused that a person has to decide on, in words; empty for nothing."""


INGEST_TIMEOUT_S: Final = 6 * 3_600.0
"""How long an ingest may take, in seconds."""

TAKE_IN_FILES: Final = Operation(
    prefix="/home", path="/ingests", sent=OwnFiles, told=TakenIn, timeout_s=INGEST_TIMEOUT_S, act="ingest.take_in"
)
ASK_INGEST: Final = Operation(prefix="/home", path="/ingest-jobs", sent=OwnFiles, told=JobRecord, act="ingest.ask")
AMEND_BY_FILE: Final = Operation(
    prefix="/home", path="/amendments", sent=OwnFile, told=TakenIn, timeout_s=INGEST_TIMEOUT_S, act="ingest.amend"
)
