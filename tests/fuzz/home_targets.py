"""The files of a home, which may have been damaged, cut short, or copied from elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import lmdb
from sqlalchemy import select

from shuiqiao.base.durable import Disk
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.crypto.keyfile import PassphraseCost, load_key_file, save_key_file
from shuiqiao.exchange.changes import decode_leaves, encode_leaves
from shuiqiao.ledger.engine.cometbft.consensus.heights import newest_height
from shuiqiao.ledger.replay.differences import check_state_map
from shuiqiao.ledger.store import index
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkAlarm, ForkKind
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.store.frame import decode_frame, decode_segment_header, encode_frame, encode_segment_header
from shuiqiao.ledger.store.index import BootMark, EpochChange
from shuiqiao.ledger.store.lmdb_file import DATA_FILE, open_environment
from shuiqiao.ledger.store.lock import system_refusals
from shuiqiao.ledger.store.state_page import root_of, whole
from shuiqiao.ledger.store.state_tree import TOP, StateTree, page_key
from shuiqiao.ledger.witness.witness import WitnessFile, WitnessRecord
from shuiqiao.members.model import Role
from shuiqiao.node.home.database import open_database
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.home.making import Home
from shuiqiao.node.home.settings import NodeSettings, encode_settings, load_settings
from shuiqiao.node.localnet.plan import NetworkFolder, load_plan
from shuiqiao.node.localnet.process import RecordedProcess
from shuiqiao.node.outbox import metadata
from shuiqiao.vault.storage.index import Entry, IndexView, unpack_entries
from target import FOLDER, NETWORK, SUITE, Target, notes, parameters, whole_receipts, written

DISK = Disk()
CHEAP = PassphraseCost(memory_kib=8, passes=1, lanes=1)


def in_folder(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of a file in a folder of its own."""
    return lambda data: read(written(data, f"{name}/{name}").parent)


def behind_digest(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes whose digest holds."""
    return lambda data: read(hashlib.sha256(data).digest() + data)


# The ledger's index


def read_head(data: bytes) -> object:
    with system_refusals(FOLDER):
        return index.decode_head(data)


def heads() -> list[bytes]:
    return [index.encode_head(index.genesis_head(parameters(), hash_name="sha256"))]


def block_places() -> list[bytes]:
    place = index.Place(segment=1, offset=2, frame_bytes=3)
    return [index.encode_block(index.BlockPlace(height=1, first_index=0, count=1, time_ms=1, place=place))]


def epoch_changes() -> list[bytes]:
    steps = [step for receipt in whole_receipts() for step in receipt.epochs]
    return [index.encode_epoch(EpochChange(size=1, epoch=step.epoch, proof=step.proof)) for step in steps]


class StoredMap:
    """A state map whose top page is what is fuzzed."""

    def __init__(self, pages: dict[bytes, bytes | None], values: dict[bytes, bytes]) -> None:
        self._pages = pages
        self._values = values

    def page(self, key: bytes) -> bytes | None:
        return whole(self._pages.get(key))

    def pages(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        return [(key, page) for key in keys if (page := self.page(key)) is not None]

    def state_items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._values.items()


@cache
def stored_map() -> tuple[dict[bytes, bytes | None], dict[bytes, bytes]]:
    values = {f"key/{number}": b"%d" % number for number in range(200)}
    plan = StateTree(hash_name="sha256").plan(StoredMap({}, {}), values)
    return dict(plan.writes), {key.encode(): value for key, value in values.items()}


def read_page(data: bytes) -> object:
    pages, values = stored_map()
    damaged: Any = StoredMap({**pages, page_key(TOP): data}, values)
    return check_state_map(damaged, root=root_of(data, new=hashlib.sha256), hash_name="sha256")


def top_pages() -> list[bytes]:
    top = stored_map()[0][page_key(TOP)]
    return [top] if top is not None else []


def lmdb_files() -> list[bytes]:
    folder = FOLDER / "lmdb-seed"
    with lmdb.open(str(folder), map_size=1 << 20, max_dbs=1) as environment:
        table = environment.open_db(b"table")
        for number in range(3):
            with environment.begin(write=True) as writer:
                writer.put(b"key %d" % number, bytes(number * 3_000), db=table)
    return [(folder / DATA_FILE).read_bytes()]


def read_lmdb(data: bytes) -> object:
    path = written(data, f"lmdb/{DATA_FILE}")
    (path.parent / "lock.mdb").unlink(missing_ok=True)
    with system_refusals(path.parent), open_environment(path.parent, readonly=True, max_dbs=1) as environment:
        table = environment.open_db(b"table", create=False)
        with environment.begin() as reader, reader.cursor(db=table) as cursor:
            return [*cursor]


# Other files of the ledger


def alarms() -> list[bytes]:
    folder = FOLDER / "alarm-seed"
    folder.mkdir(exist_ok=True)
    file = AlarmFile(folder, disk=DISK)
    file.save(
        ForkAlarm(
            kind=ForkKind.SHRUNK, found_ms=1, own_size=2, own_root=bytes(32), own_note=b"", new_note=b"n", detail="d"
        )
    )
    return [file.path.read_bytes()]


def witness_records() -> list[bytes]:
    folder = FOLDER / "witness-seed"
    folder.mkdir(exist_ok=True)
    file = WitnessFile(folder, origin="o", disk=DISK)
    file.save(WitnessRecord(origin="o", size=1, root=bytes(32), time_s=1, note=b"note"))
    return [file.path.read_bytes()[32:]]


def read_checkpoint_file(folder: Path) -> object:
    file = CheckpointFile(folder, suite=SUITE, disk=DISK, name=folder.name)
    return file.load(lambda _size: parameters().policy)


def read_boot_mark(folder: Path) -> object:
    return BootMark(folder, disk=DISK, boot_id=folder / "open").is_stale()


def frames() -> list[bytes]:
    data, _ = encode_frame(
        [b"one", b"two"], entry=b"e", height=1, first_index=0, previous=bytes(32), hash_name="sha256"
    )
    return [data]


def segment_headers() -> list[bytes]:
    return [
        encode_segment_header(network=NETWORK, first_height=1, first_index=0, previous=bytes(32), hash_name="sha256")
    ]


# The vault's index


class OneValue:
    """What LMDB gives for any key."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def get(self, _key: bytes, *, db: object) -> bytes:
        return b"" if db is None else self._value


def read_vault_row(data: bytes) -> object:
    view = IndexView(OneValue(data), {name: name for name in ("batches", "types", "sources", "replaced")})
    return view.batch(1)


def vault_rows() -> list[bytes]:
    row = {"id": bytes(16), "standard": "s@1", "count": 1, "period_from": "2024-01-01", "period_to": "2024-12-31"}
    return [encode_cbor(row | {"root": bytes(32), "parquet": bytes(32), "committed": 5, "erased": False})]


# Keys, settings, the database, processes


def key_files() -> list[bytes]:
    path = FOLDER / "seed.key.json"
    path.unlink(missing_ok=True)
    save_key_file(
        path, seed=bytes(32), suite=SUITE.name, purpose="signing", passphrase=b"secret", entropy=bytes, cost=CHEAP
    )
    return [path.read_bytes()]


def read_settings(data: bytes) -> object:
    home = Home(FOLDER)
    home.settings.write_bytes(data)
    return load_settings(home)


def settings() -> list[bytes]:
    return [encode_settings(NodeSettings(member="bureau", role=Role.TAX_BUREAU, suite=SUITE.name)).encode()]


def plans() -> list[bytes]:
    validators = [{"member": "aa", "p2p_port": 26656}, {"member": "bb", "p2p_port": 26657}]
    relays = [{"near": "aa", "far": "bb", "port": 26658}]
    plan = {"version": 2, "network": "00" * 32, "suite": "intl", "engine": "cometbft"}
    return [json.dumps(plan | {"validators": validators, "relays": relays}).encode()]


def read_plan(data: bytes) -> object:
    folder = NetworkFolder(FOLDER)
    written(data, folder.plan.name)
    return load_plan(folder)


def databases() -> list[bytes]:
    path = FOLDER / "seed.db"
    engine = open_database(path)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(select(table)).all()
    engine.dispose()
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA journal_mode=DELETE")
    plain.close()
    return [path.read_bytes()]


def read_database(data: bytes) -> object:
    path = written(data, "shuiqiao.db")
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    engine = open_database(path)
    try:
        with engine.begin() as connection:
            return [connection.execute(select(table)).all() for table in metadata.sorted_tables]
    finally:
        engine.dispose()


def processes() -> list[bytes]:
    return [json.dumps({"pid": os.getpid(), "began": "1"}).encode(), b'{"pid":1e999,"began":"1"}']


TARGETS: dict[str, Target] = {
    "index-head": Target(read=read_head, seeds=heads),
    "index-head-fields": Target(read=behind_digest(read_head), seeds=lambda: [each[32:] for each in heads()]),
    "index-record": Target(read=lambda data: index.decode_block(1, data), seeds=block_places),
    "index-epoch": Target(read=lambda data: index.decode_epoch(1, data), seeds=epoch_changes),
    "state-page": Target(read=read_page, seeds=top_pages),
    "lmdb-file": Target(read=read_lmdb, seeds=lmdb_files),
    "segment-header": Target(read=lambda data: decode_segment_header(data, hash_name="sha256"), seeds=segment_headers),
    "segment-frame": Target(read=lambda data: decode_frame(data, hash_name="sha256"), seeds=frames),
    "alarm": Target(read=in_folder("fork", lambda folder: AlarmFile(folder, disk=DISK).load()), seeds=alarms),
    "witness-record": Target(
        read=behind_digest(in_folder("last", lambda folder: WitnessFile(folder, origin="o", disk=DISK).load())),
        seeds=witness_records,
    ),
    "stored-checkpoint": Target(read=in_folder("latest", read_checkpoint_file), seeds=notes),
    "boot-mark": Target(read=in_folder("open", read_boot_mark), seeds=lambda: [b"c0ffee\n"]),
    "newest-position": Target(read=newest_height, seeds=lambda: [bytes(100)]),
    "vault-row": Target(read=read_vault_row, seeds=vault_rows),
    "vault-versions": Target(read=unpack_entries, seeds=lambda: [Entry(1, 2, 3, 4, 5, bytes(16), bytes(8)).pack()]),
    "kept-leaves": Target(
        read=decode_leaves, seeds=lambda: [encode_leaves({"invoice_issued@2": [(bytes(16), bytes(8))]})]
    ),
    "key-file": Target(
        read=lambda data: load_key_file(written(data, "key.json"), passphrase=b"secret"), seeds=key_files
    ),
    "passphrase": Target(read=lambda data: read_passphrase(written(data, "passphrase")), seeds=lambda: [b"secret\n"]),
    "node.toml": Target(read=read_settings, seeds=settings),
    "network-plan": Target(read=read_plan, seeds=plans),
    "database": Target(read=read_database, seeds=databases, executions=60),
    "process-record": Target(
        read=in_folder("node.pid", lambda folder: RecordedProcess(folder, name="node").pid), seeds=processes
    ),
    "process-log": Target(
        read=in_folder("node.log", lambda folder: RecordedProcess(folder, name="node").last_words()),
        seeds=lambda: [b"one\ntwo\n"],
    ),
}
