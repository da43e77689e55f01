"""Recomputes everything in a vault's files and compares it with the ledger: any changed byte is found and named.

For every anchored batch [VAULT-CHECK-1]: the ledger has its root; the header says what the index and the ledger say;
salts and group bytes give every leaf, the leaves give every node, the last node is the anchored root; the Parquet file
is the one that was written, and its records, written as groups again, are the bytes that were hashed. An erased record
has neither bytes nor salts, and the ledger says that it was erased. A file that belongs to no batch is named as well.

[VAULT-CHECK-2] Where the key is not at hand, an encrypted batch is held against the ledger by its header and its tree
alone, and is not counted among those that hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.columns import encode_group_list
from shuiqiao.standards.model import Catalogue, RecordType
from shuiqiao.vault.model import HASH_BYTES, BatchFact, BatchLookup, LeafLookup, LeafStatus, Problem
from shuiqiao.vault.storage.batch_file import LEAVES_SUFFIX, PARQUET_SUFFIX, BatchFiles, LeavesFile
from shuiqiao.vault.storage.index import BatchRow
from shuiqiao.vault.tree import group_hashes, leaf_hashes, tree_levels

MAX_PROBLEMS_PER_BATCH = 8
"""Problems told of one batch: a file overwritten from end to end need not name each of its records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What a check of all stored bytes found. batches, records: anchored ones that were recomputed and held.

    unread: encrypted batches of which only header and tree were checked. why: what kept their key away.
    """

    batches: int
    records: int
    problems: tuple[Problem, ...]
    unread: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """What a check compares with. status_of: None leaves out whether the ledger knows of each erasure.

    has_key: whether what is encrypted can be opened.
    """

    files: BatchFiles
    suite: CipherSuite
    catalogue: Catalogue
    batch_of: BatchLookup
    status_of: LeafLookup | None
    has_key: bool = True

    def inspect(self, row: BatchRow) -> list[Problem]:
        """Return what is wrong with one batch, at most MAX_PROBLEMS_PER_BATCH."""
        found: list[Problem] = []
        for problem in self._problems(row):
            found.append(problem)
            if len(found) == MAX_PROBLEMS_PER_BATCH:
                break
        return found

    def _problems(self, row: BatchRow) -> Iterator[Problem]:
        name = row.id.hex() + LEAVES_SUFFIX
        fact = self.batch_of(row.id)
        if fact is None:
            yield Problem(code="vault.batch_unanchored", place=name, message="the ledger does not have this batch")
            return
        if (fact.root, fact.count, fact.standard) != (row.root, row.count, row.standard):
            yield Problem(
                code="vault.anchor_differs", place=name, message="root, count or standard differ on the ledger"
            )
            return
        try:
            record_type = self.catalogue.get(row.standard)
            with self.files.leaves(row.id, count=row.count, groups=record_type.group_ids) as file:
                yield from self._header_problems(file, row, record_type, fact)
                yield from self._tree_problems(file, row)
                if file.is_encrypted and not self.has_key:
                    return
                parts = [file.group(position).records(range(row.count)) for position in range(len(file.header.groups))]
                yield from self._leaf_problems(file, parts)
                yield from self._parquet_problems(file, row, record_type, parts)
        except ShuiqiaoError as error:
            yield Problem(code=error.code, place=name, message=error.message)

    def _header_problems(
        self, file: LeavesFile, row: BatchRow, record_type: RecordType, fact: BatchFact
    ) -> Iterator[Problem]:
        header = file.header
        said = (header.batch, header.suite, header.standard, tuple(header.groups), header.count, header.parquet)
        known = (row.id, str(self.suite.name), row.standard, record_type.group_ids, row.count, row.parquet)
        if said != known:
            yield Problem(
                code="vault.file_damaged", place=file.path.name, message="its header is not that of its batch"
            )
        if self.status_of is None or fact.erased:
            return
        for index in header.erased:
            if self.status_of(row.id, index) is not LeafStatus.ERASED:
                place = f"{file.path.name} record {index}"
                yield Problem(code="vault.erasure_untold", place=place, message="erased here, not on the ledger")

    def _leaf_problems(self, file: LeavesFile, parts: list[list[bytes]]) -> Iterator[Problem]:
        """Recompute [VAULT-LEAF-1] from the stored bytes."""
        hash_name, name = self.suite.hash_name, file.path.name
        salts, tree, erased = file.salts(), file.tree(), set(file.header.erased)
        hashes = [
            group_hashes([salt.tobytes() for salt in salts[:, position]], part, hash_name=hash_name)
            for position, part in enumerate(parts)
        ]
        for index, leaf in enumerate(leaf_hashes(hashes, hash_name=hash_name)):
            if index in erased:
                if np.any(salts[index]) or any(part[index] for part in parts):
                    yield _problem(name, index, "is said to be erased and has bytes or salts")
            elif leaf != tree[index * HASH_BYTES : (index + 1) * HASH_BYTES]:
                yield _problem(name, index, "its bytes and salts do not give its leaf")

    def _tree_problems(self, file: LeavesFile, row: BatchRow) -> Iterator[Problem]:
        """Recompute [VAULT-TREE-1] from the stored leaves."""
        hash_name, name, tree = self.suite.hash_name, file.path.name, file.tree()
        stored = [tree[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(row.count)]
        levels = tree_levels(stored, hash_name=hash_name)
        if b"".join(node for level in levels for node in level) != tree:
            yield Problem(
                code="vault.leaf_mismatch", place=name, message="its stored tree is not the tree of its leaves"
            )
        if levels[-1][0] != row.root:
            yield Problem(code="vault.leaf_mismatch", place=name, message="its leaves do not give the anchored root")

    def _parquet_problems(
        self, file: LeavesFile, row: BatchRow, record_type: RecordType, parts: list[list[bytes]]
    ) -> Iterator[Problem]:
        path = self.files.path(row.id, PARQUET_SUFFIX)
        kept = sorted(set(range(row.count)) - set(file.header.erased))
        try:
            if self.suite.digest(self.files.parquet(row.id)) != row.parquet:
                yield Problem(
                    code="vault.file_damaged", place=path.name, message="its bytes are not those that were written"
                )
            if not kept:
                return
            rows = self.files.read_rows(row.id, record_type.field_names, kept).combine_chunks().to_batches()[0]
            rows.validate(full=True)
            for group, part in zip(record_type.group_ids, parts, strict=True):
                written = encode_group_list(record_type, group, rows)
                for index, content in zip(kept, written, strict=True):
                    if content != part[index]:
                        yield _problem(path.name, index, f"its group {group} is not the one that was hashed")
        except ShuiqiaoError as error:
            yield Problem(code=error.code, place=path.name, message=error.message)
        except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
            yield Problem(code="vault.file_damaged", place=path.name, message=f"it cannot be read: {str(error)[:200]}")


def _problem(name: str, index: int, message: str) -> Problem:
    return Problem(code="vault.leaf_mismatch", place=f"{name} record {index}", message=message)


def unknown_files(folder: Path, known: set[str]) -> list[str]:
    """Return names of files that belong to no batch. known: batch ids in hex."""
    return sorted(path.name for path in folder.iterdir() if path.name.partition(".")[0] not in known)
