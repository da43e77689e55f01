"""The quarantine report of an ingest: every row that was kept out, one JSON object a line, and why [VAULT-INGEST-2].

``{"file", "row", "field", "rule", "value"}``, with ``"first_seen": {"file", "row"}`` for rows that repeat or
contradict one that is there. Rules beside those of the standard:

    duplicate           the same values under the same identity were ingested before
    already_ingested    this very row of this very file was: the file was read again
    outdated            an earlier state of a record of which a later one was ingested before
    identity_conflict   other values under the identity of a record whose type allows no newer version
    record_unknown      an amendment of a record that is not there
    goes_back           an amendment that takes back a state which only advances

What is listed of a source is in proportion to its length, since a Parquet file of a few kB may hold a million rows.
Beyond that there is one line for each rule that rows broke: ``row`` is the first of them, ``rows`` says how many they
are [VAULT-INGEST-4].

Characters that would redraw a screen are written as JSON escapes, for the report is there to be read. The file holds
taxpayers' data: it stays in the vault's folder, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from shuiqiao.base.durable import flush_file, sync_folder
from shuiqiao.base.files import open_regular
from shuiqiao.base.visible import visible
from shuiqiao.standards.sensitivity import HIDDEN_VALUE
from shuiqiao.standards.validation import Issue

DUPLICATE = "duplicate"
ALREADY_INGESTED = "already_ingested"
OUTDATED = "outdated"
IDENTITY_CONFLICT = "identity_conflict"
RECORD_UNKNOWN = "record_unknown"
GOES_BACK = "goes_back"

KEPT_OUT = frozenset({IDENTITY_CONFLICT, RECORD_UNKNOWN, GOES_BACK})
"""The rules that say that a row should have become a record and could not; the others say that nothing is missing."""

LISTED_BYTES = 1 << 20
LISTED_PER_BYTE = 32
"""Bytes of lines that a source may fill, and more for each byte of its file: a fact has ten bytes in a Parquet file and
thirty in CSV, and takes some 160 to list."""

SUFFIX = ".ndjson"

_BUFFER_BYTES = 1 << 20
_DELETE = b"\x7f"


class Report:
    """An open report file; ``close`` makes it durable."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self.path = folder / name
        self._encode = msgspec.json.Encoder().encode
        self._room: dict[str, int] = {}
        self._unlisted: dict[tuple[str, str, str], dict[str, Any]] = {}
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)

    def allow(self, file: str, *, size_bytes: int) -> None:
        """Make room for the lines of a source of so many bytes."""
        self._room[file] = self._room.get(file, 0) + LISTED_BYTES + LISTED_PER_BYTE * size_bytes

    def add_issues(self, file: str, issues: Iterable[Issue], *, hidden: Collection[str] = ()) -> None:
        """List rows that broke a rule of the standard. hidden: fields whose values are not told [STD-70]."""
        for issue in issues:
            is_hidden = not frozenset(issue.field.replace(" ", "").split(",")).isdisjoint(hidden)
            value = HIDDEN_VALUE if is_hidden and issue.value else issue.value
            line = {"file": file, "row": issue.row, "field": issue.field, "rule": issue.rule, "value": value}
            self._write(line)

    def add_known(self, file: str, *, row: int, rule: str, value: str, first: tuple[str, int] | None) -> None:
        """List a row by what is known of it. value: its taxpayer. first: file and row it was first seen at."""
        line: dict[str, Any] = {"file": file, "row": row, "field": "", "rule": rule, "value": value}
        if first is not None:
            line["first_seen"] = {"file": first[0], "row": first[1]}
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        """Write a line while its source has room; from the first that finds none on, lines are counted."""
        file, field, rule = line["file"], line["field"], line["rule"]
        if room := self._room[file]:
            data = _shown(self._encode(line))
            self._room[file] = max(0, room - len(data))
            if len(data) <= room:
                self._file.write(data)
                return
        unlisted = {"file": file, "row": line["row"], "field": field, "rule": rule, "value": "", "rows": 0}
        self._unlisted.setdefault((file, field, rule), unlisted)["rows"] += 1

    def close(self) -> None:
        """Write how many rows are not listed, and make the report and its name durable."""
        for line in self._unlisted.values():
            self._file.write(_shown(self._encode(line)))
        flush_file(self._file)
        self._file.close()
        sync_folder(self.path.parent)

    def abandon(self) -> None:
        """Close without waiting for the disk: the ingest failed, its next run reports again."""
        self._file.close()


def rows_by_rule(report: Path) -> dict[str, int]:
    """Return how many rows of a report each rule kept out, the most first.

    A row that broke one rule in two fields counts once, where it is listed by itself.
    """
    listed: set[tuple[str, str, int]] = set()
    counts: Counter[str] = Counter()
    with report.open("rb") as lines:
        for line in map(json.loads, lines):
            row = (line["rule"], line["file"], line["row"])
            if "rows" in line:
                counts[line["rule"]] += line["rows"]
            elif row not in listed:
                listed.add(row)
                counts[line["rule"]] += 1
    return dict(counts.most_common())


def reports_in(folder: Path) -> list[Path]:
    """Return the report files of a vault's folder, in the order in which they were made."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())


def find_report(folder: Path, name: str) -> Path | None:
    """Return the report of an ingest by its name without the ending, None where there is none."""
    return next((path for path in reports_in(folder) if path.stem == name), None)


def read_rows(path: Path, *, first: int, limit: int) -> Iterator[dict[str, Any]]:
    """Yield lines of a report from one on, 0 the first, as far as it is written.

    ::

        rules = Counter(row["rule"] for row in read_rows(report.report, first=0, limit=1_000))
    """
    with open_regular(path) as file:
        for line in islice(file, first, first + limit):
            if not line.endswith(b"\n"):
                # An ingest writes on at this moment.
                return
            yield msgspec.json.decode(line)


def _shown(line: bytes) -> bytes:
    # msgspec escapes what lies below the space: of ASCII only one character is left.
    if not line.isascii() or _DELETE in line:
        line = visible(line.decode()).encode()
    return line + b"\n"
