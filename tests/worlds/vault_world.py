"""A bureau with a vault on a real embedded ledger, and small files of records to put into it.

Run as a program it ingests files into such worlds, in children that a test can kill: it reads lines of
``FOLDER SUITE BATCH_DEPTH WORKERS FILE...`` and answers each with the child's process id and, later, its exit code.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from counted_work import require_all_counted
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.ids import MemberId, Uscc
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault import contract
from shuiqiao.vault.disclosure import DisclosedRecords, Disclosure, verify_disclosure
from shuiqiao.vault.model import IngestReport, VaultSettings
from shuiqiao.vault.service import Vault
from shuiqiao.vault.storage.batch_file import CLEAR_MAGIC, LEAVES_SUFFIX, PARQUET_SUFFIX

GENESIS_MS = 1_775_000_000_000
BUREAU, OTHER_BUREAU, BANK = MemberId("bureau"), MemberId("other-bureau"), MemberId("bank")
ROLES = {BUREAU: Role.TAX_BUREAU, OTHER_BUREAU: Role.TAX_BUREAU, BANK: Role.BANK}
EVER = {"period_from": date(2000, 1, 1), "period_to": date(2050, 12, 31)}
CATALOGUE = load_catalogue()


def counted_entropy(start: int = 0) -> Callable[[int], bytes]:
    """Bytes that differ from draw to draw and are the same in every run."""
    numbers = itertools.count(start)

    def draw(count: int) -> bytes:
        return hashlib.shake_128(next(numbers).to_bytes(8, "big")).digest(count)

    return draw


class VaultWorld:
    """The bureau, its ledger and its vault; ``close`` when done."""

    def __init__(
        self,
        folder: Path,
        suite_name: str = "intl",
        *,
        batch_depth: int = 3,
        workers: int = 0,
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.suite = get_suite(suite_name)
        self.clock = ManualClock(GENESIS_MS + 1000)
        self.entropy = entropy or counted_entropy()
        self.kinds = KindTable(contract.KINDS)
        self._keys = {name: self.suite.signing_key_from_seed(self.suite.digest(name.encode())) for name in ROLES}
        members = tuple(
            Registration.in_genesis("test", name).register(
                role=role,
                name=name,
                name_zh=name,
                signing=self._keys[name],
                sealing_key=self.suite.sealing_key_from_seed(self.suite.digest(b"s" + name.encode())).public_key,
            )
            for name, role in sorted(ROLES.items())
        )
        genesis = Genesis(name="test", suite=self.suite.name, writer=BUREAU, created_ms=GENESIS_MS, members=members)
        self.ledger = EmbeddedLedger.open(
            folder / "ledger",
            parameters=network_parameters(encode_genesis(genesis)),
            kinds=self.kinds,
            key_ring=MemberKeyRing(),
            clock=self.clock,
            operator_key=self._keys[BUREAU],
            settings=EmbeddedSettings(linger_ms=0, is_clock_confirmed=True),
        )
        self.anchor = self.submitter(BUREAU)
        self.vault = Vault(
            folder / "vault",
            suite=self.suite,
            catalogue=CATALOGUE,
            clock=self.clock,
            entropy=self.entropy,
            cipher=FileCipher(lambda: bytes(32), suite=self.suite.name, entropy=_system_entropy()),
            settings=VaultSettings(batch_depth=batch_depth, workers=workers, parallel_from_rows=1),
        )

    def submitter(self, member: MemberId) -> LedgerSubmitter:
        """A member's way to the ledger."""
        return LedgerSubmitter(
            self.ledger,
            member=member,
            key=self._keys[member],
            kinds=self.kinds,
            suite=self.suite,
            clock=self.clock,
            # Ids of transactions must not repeat after a restart, as those of records may.
            entropy=_system_entropy(),
        )

    def close(self) -> None:
        self.vault.close()
        require_all_counted(self.ledger, kinds=self.kinds, suite=self.suite)
        self.ledger.close()

    def ingest(self, *paths: Path, anchor: Any = None) -> IngestReport:
        return self.vault.ingest(paths, anchor=anchor or self.anchor)

    def batch_of(self, batch: bytes) -> Any:
        return contract.batch_fact(self.ledger.state(), BUREAU, batch)

    @property
    def status_of(self) -> Any:
        return contract.LedgerLeaves(self.ledger.state(), BUREAU)

    def disclose(self, uscc: str, groups: Mapping[str, Sequence[str]] | None = None, **period: date) -> Disclosure:
        groups = groups or {"invoice_issued": ["core", "amounts", "counterparty"]}
        return self.vault.disclose(uscc=Uscc(uscc), groups=groups, **{**EVER, **period})

    def verify(self, disclosure: Disclosure, **options: Any) -> DisclosedRecords:
        return verify_disclosure(
            disclosure, **{"batch_of": self.batch_of, "suite": self.suite, "catalogue": CATALOGUE, **options}
        )

    def problems(self) -> list[tuple[str, str]]:
        found = self.vault.verify_files(batch_of=self.batch_of, status_of=self.status_of)
        return [(problem.code, problem.place) for problem in found.problems]

    def anchored_batches(self) -> list[bytes]:
        """Batch ids in the order in which the ledger took them, each as often as it did."""
        transactions = (raw for block in self.ledger.blocks(from_height=1) for raw in block.transactions)
        decoded = (self.anchor.decode(raw) for raw in transactions)
        return [tx.body.batch for tx in decoded if tx.kind == contract.COMMIT]


def leave_in_clear(vault: Vault) -> int:
    """Write the batch files of a vault anew as a release before encryption left them; return how many batches."""
    files, index = vault._files, vault._index
    with index.read() as view:
        rows = list(view.batches())
    for row in rows:
        with files.leaves(row.id, count=row.count, groups=CATALOGUE.get(row.standard).group_ids) as file:
            head = encode_cbor(msgspec.to_builtins(file.header, builtin_types=(bytes,)))
            groups = [file.group(position) for position in range(len(file.header.groups))]
            parts = [CLEAR_MAGIC, len(head).to_bytes(4, "little"), head, file.tree(), file.salts().tobytes()]
            parts += [part for group in groups for part in (group.ends.astype("<u4").tobytes(), group.data)]
        parquet = files.parquet(row.id)
        files.path(row.id, LEAVES_SUFFIX).write_bytes(b"".join(parts))
        files.path(row.id, PARQUET_SUFFIX).write_bytes(parquet)
    return len(rows)


def _system_entropy() -> Callable[[int], bytes]:
    from shuiqiao.base.ids import system_entropy

    return system_entropy


def invoice(number: int, *, uscc: str = "91320100MA1000000A", **changes: Any) -> dict[str, Any]:
    """An issued invoice whose values follow from its number."""
    amount = 10_000 + 100 * number
    values = {
        "uscc": uscc,
        "invoice_no": f"{number:08d}",
        "issue_date": date(2024, 1 + number % 12, 1 + number % 28),
        "status": "valid",
        "is_red_letter": False,
        "amount_fen": amount,
        "tax_fen": amount * 13 // 100,
        "total_fen": amount + amount * 13 // 100,
        "tax_rate": "0.13",
        "counterparty_id": f"91440300MA5{number % 7:07d}",
        "counterparty_name": '深圳某某"商贸"有限公司',
    }
    return {**values, **changes}


def grade(year: int, letter: str, *, uscc: str = "91320100MA1000000A") -> dict[str, Any]:
    """A tax credit grade, which may be superseded."""
    return {"uscc": uscc, "year": year, "grade": letter}


def payment(number: int, *, uscc: str = "91320100MA1000000A", amount_fen: int = 500) -> dict[str, Any]:
    """A payment, whose natural key is not all of it and which may not be superseded."""
    fields = {entry.name: None for entry in CATALOGUE.get("payment").fields}
    return {**fields, **_payment_values(number, amount_fen), "uscc": uscc}


def _payment_values(number: int, amount_fen: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in CATALOGUE.get("payment").fields:
        if not entry.required:
            continue
        if entry.code_list is not None:
            values[entry.name] = entry.code_list.codes[0]
        elif str(entry.type) == "date":
            values[entry.name] = date(2024, 3, 1)
        elif str(entry.type) == "amount_fen":
            values[entry.name] = amount_fen
        else:
            values[entry.name] = f"V{number}"
    return values


def write_rows(path: Path, type_id: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write records as Parquet in the canonical layout."""
    schema = canonical_schema(CATALOGUE.get(type_id))
    listed = list(rows)
    columns = [pa.array([row.get(name) for row in listed], type=schema.field(name).type) for name in schema.names]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)
    return path


def ingest_into(folder: str, suite: str, depth: str, workers: str, *files: str) -> None:
    """Ingest files into a world, making it where it is not there."""
    world = VaultWorld(Path(folder), suite, batch_depth=int(depth), workers=int(workers), entropy=_system_entropy())
    world.ingest(*(Path(file) for file in files))
    world.close()


def serve() -> None:
    """For each line of arguments on standard input fork a child that ingests; tell its process id, then its exit.

    Forking a process that has everything imported is what makes fifty children cheap. It has no threads and no open
    files of a world, so the fork is a clean start.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ingest_into(*line.split())
                status = 0
            finally:
                os._exit(status)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
