"""The receiver's side: recomputes everything a disclosure claims, against what the ledger holds of its batches.

For every record type, in order [VAULT-VERIFY-1]:

1. the granted groups' canonical JSON is written from the columns, and hashed with the disclosed salts;
2. with the hashes of the withheld groups, that gives each record's leaf;
3. the leaves and the multiproof of each batch lead to a root;
4. that root, with its count, standard and author, is the one on the ledger, and the batch is not erased;
5. no leaf stands twice, none is superseded or erased, and every record that names its taxpayer names the right one.

Guarantee: what comes back is what the author committed to. LIMIT: completeness is not proven here, a record may have
been left out; the signed manifest of ``exchange`` makes that provable afterwards. LIMIT: without the group ``core`` a
record does not say whose it is; who asks for facts about a taxpayer must be granted ``core``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.encoding import encode_group_list
from shuiqiao.standards.model import CORE_GROUP, Catalogue, RecordType
from shuiqiao.vault.disclosure import Disclosure, Opening, TypeDisclosure, granted_groups, granted_schema
from shuiqiao.vault.leaves import group_hashes, leaf_hashes, split_hashes, split_salts
from shuiqiao.vault.model import BatchFact, BatchLookup, LeafLookup, LeafStatus
from shuiqiao.vault.tree import root_from_multiproof


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecords:
    """Records of one type that were checked.

    rows: a pyarrow RecordBatch of the granted fields. batches: the distinct batch ids. batch_numbers: per row, the
    position of its batch in ``batches``. indexes: per row, its leaf index in that batch.
    """

    record_type: RecordType
    groups: tuple[str, ...]
    rows: Any
    batches: tuple[bytes, ...]
    batch_numbers: npt.NDArray[np.int64]
    indexes: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedRecords:
    """A checked disclosure: one taxpayer's records by standard id, e.g. ``invoice_issued@2``."""

    uscc: Uscc
    types: Mapping[str, VerifiedRecords]

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(entry.rows.num_rows for entry in self.types.values())


def verify_disclosure(
    disclosure: Disclosure,
    *,
    batch_of: BatchLookup,
    suite: CipherSuite,
    catalogue: Catalogue,
    status_of: LeafLookup | None = None,
) -> DisclosedRecords:
    """Return the records of a disclosure after every one of them was proven to be under an anchored root.

    batch_of: the batches of the member whose anchors count (``contract.batch_lookup(state, author)``). status_of:
    ``contract.leaf_lookup(state, author)`` to refuse superseded and erased records too.
    Raises IntegrityError ``vault.leaf_mismatch``, ``vault.proof_malformed``, ``vault.batch_unanchored``,
    ``vault.taxpayer_mismatch``, ``vault.leaf_repeated``; Conflict ``vault.batch_erased``,
    ``vault.superseded``, ``vault.record_erased``; InvalidInput
    ``vault.disclosure_malformed`` and those of ``standards``.
    """
    checked = {
        entry.standard: _verify_type(
            entry,
            record_type=catalogue.get(entry.standard),
            uscc=disclosure.uscc,
            anchored=lambda batch, standard: _anchored(batch_of, batch, standard),
            hash_name=suite.hash_name,
        )
        for entry in disclosure.types
    }
    if status_of is not None:
        for entry in disclosure.types:
            for opening in entry.openings:
                _require_live(opening, status_of)
    return DisclosedRecords(uscc=disclosure.uscc, types=checked)


def _verify_type(
    entry: TypeDisclosure, *, record_type: RecordType, uscc: Uscc, anchored: Any, hash_name: str
) -> VerifiedRecords:
    groups = granted_groups(record_type, entry.groups)
    _check_shape(entry, record_type, groups)
    leaves = _leaves(entry, record_type, groups, hash_name=hash_name)
    at = 0
    for opening in entry.openings:
        count = len(opening.indexes)
        fact = anchored(opening.batch, record_type.standard_id)
        _verify_opening(opening, leaves[at : at + count], fact, hash_name=hash_name)
        at += count
    if CORE_GROUP in groups and entry.rows.num_rows:
        _require_taxpayer(entry, record_type, uscc)
    return VerifiedRecords(
        record_type=record_type,
        groups=groups,
        rows=entry.rows,
        batches=tuple(opening.batch for opening in entry.openings),
        batch_numbers=np.repeat(np.arange(len(entry.openings)), [len(opening.indexes) for opening in entry.openings]),
        indexes=np.concatenate([np.empty(0, np.uint32), *(opening.indexes for opening in entry.openings)]).astype(
            np.uint32, copy=False
        ),
    )


def _check_shape(entry: TypeDisclosure, record_type: RecordType, groups: tuple[str, ...]) -> None:
    if groups != entry.groups or not entry.rows.schema.equals(granted_schema(record_type, groups)):
        raise InvalidInput("vault.disclosure_malformed", f"the columns of {entry.standard} are not those of its groups")
    if entry.rows.num_rows != sum(len(opening.indexes) for opening in entry.openings):
        raise InvalidInput(
            "vault.disclosure_malformed", f"{entry.standard} opens more or fewer leaves than it has rows"
        )
    batches = [opening.batch for opening in entry.openings]
    if len(set(batches)) != len(batches):
        raise IntegrityError("vault.leaf_repeated", f"a batch stands twice among the openings of {entry.standard}")


def _leaves(entry: TypeDisclosure, record_type: RecordType, groups: tuple[str, ...], *, hash_name: str) -> list[bytes]:
    """Return the leaf of every record, from granted content and withheld hashes [VAULT-LEAF-1]."""
    salts = split_salts(b"".join(opening.salts for opening in entry.openings), groups=len(groups))
    withheld_ids = [group for group in record_type.group_ids if group not in groups]
    hashes = split_hashes(b"".join(opening.withheld for opening in entry.openings))
    rows = entry.rows.num_rows
    if any(len(column) != rows for column in salts) or len(hashes) != rows * len(withheld_ids):
        raise InvalidInput("vault.disclosure_malformed", f"{entry.standard} has too few or too many salts or hashes")
    columns: dict[str, list[bytes]] = {
        group: hashes[position :: len(withheld_ids)] for position, group in enumerate(withheld_ids)
    }
    for group, salt in zip(groups, salts, strict=True):
        columns[group] = group_hashes(salt, _group_bytes(record_type, group, entry.rows), hash_name=hash_name)
    return leaf_hashes([columns[group] for group in record_type.group_ids], hash_name=hash_name)


def _group_bytes(record_type: RecordType, group: str, rows: Any) -> list[bytes]:
    try:
        return encode_group_list(record_type, group, rows)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        # Dates beyond every calendar and the like: no anchored record can hold them.
        raise IntegrityError(
            "vault.leaf_mismatch", f"{record_type.standard_id} holds a value that no record can have: {error}"
        ) from error


def _anchored(batch_of: BatchLookup, batch: bytes, standard: str) -> BatchFact:
    fact = batch_of(batch)
    if fact is None:
        raise IntegrityError("vault.batch_unanchored", f"the ledger has no batch {batch.hex()} of this provider")
    if fact.standard != standard:
        raise IntegrityError(
            "vault.leaf_mismatch", f"batch {batch.hex()} holds {fact.standard} on the ledger, {standard} here"
        )
    if fact.erased:
        raise Conflict("vault.batch_erased", f"batch {batch.hex()} was erased, says the ledger")
    return fact


def _verify_opening(opening: Opening, leaves: list[bytes], fact: BatchFact, *, hash_name: str) -> None:
    """[VAULT-TREE-2]: the leaves and their proof lead to the anchored root."""
    root = root_from_multiproof(
        leaves, opening.indexes.tolist(), split_hashes(opening.proof), count=fact.count, hash_name=hash_name
    )
    if root != fact.root:
        raise IntegrityError(
            "vault.leaf_mismatch",
            f"{len(leaves)} records lead to root {root.hex()[:16]}… where batch {opening.batch.hex()} is anchored as "
            f"{fact.root.hex()[:16]}…: content, salt or place of at least one was changed",
        )


def _require_taxpayer(entry: TypeDisclosure, record_type: RecordType, uscc: Uscc) -> None:
    if entry.rows.column(record_type.taxpayer_field).unique().to_pylist() != [uscc]:
        raise IntegrityError("vault.taxpayer_mismatch", f"a record of {entry.standard} names another taxpayer")


def _require_live(opening: Opening, status_of: LeafLookup) -> None:
    for index in opening.indexes.tolist():
        status = status_of(opening.batch, index)
        if status is LeafStatus.SUPERSEDED:
            raise Conflict("vault.superseded", f"leaf {index} of batch {opening.batch.hex()} has a newer version")
        if status is LeafStatus.ERASED:
            raise Conflict("vault.record_erased", f"leaf {index} of batch {opening.batch.hex()} was erased")
