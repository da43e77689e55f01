"""Indexes of which one page is damaged: told so by who looks, made anew by who opens, and never a signal [STORE-29]."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

import consortium_world as worlds
from damaged_pages import damaged, pages_of, require_no_signal
from patience import PATIENCE_S
from shuiqiao.base.clock import MS_PER_HOUR, ManualClock
from shuiqiao.base.errors import Conflict, IntegrityError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.store.lmdb_file import open_environment
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.doctor.ledger import LedgerDoctor
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.vault.storage.index import BatchRow, RecordIndex, copy_index

BLOCKS = 3


class LedgerWorld:
    """A ledger of a few blocks, and a copy of it whose index is to be damaged."""

    def __init__(self, folder: Path) -> None:
        home = worlds.solo_home(folder / "home")
        self.place = LedgerFolder.of_home(home)
        self.copy = LedgerFolder(folder=folder / "copy", parameters=self.place.parameters)
        self.scratch = folder / "scratch"
        self.key = load_keys(home, passphrase=find_passphrase(home)).signing
        ledger = self.open(self.place)
        for number in range(1, BLOCKS + 1):
            self.anchor(ledger, number)
        self.root = ledger.checkpoint().root
        ledger.close()
        self.data = (self.place.index / "data.mdb").read_bytes()

    def open(self, place: LedgerFolder) -> EmbeddedLedger:
        return EmbeddedLedger.open(
            place.folder,
            parameters=place.parameters,
            kinds=network_kinds(),
            key_ring=MemberKeyRing(),
            clock=ManualClock(worlds.NOW_MS + 1000),
            operator_key=self.key,
            settings=EmbeddedSettings(linger_ms=0, verifier_processes=0, map_bytes=1 << 26),
        )

    def anchor(self, ledger: EmbeddedLedger, number: int) -> None:
        parameters = self.place.parameters
        draft = TransactionDraft(
            kind="anchor.commit",
            version=1,
            body=worlds.anchor_body(bytes([number]) * 16),
            author=MemberId("bureau"),
            valid_until_ms=worlds.NOW_MS + MS_PER_HOUR,
            id=bytes([number]) * 16,
        )
        suite = get_suite(parameters.suite)
        raw = sign_transaction(draft, network=parameters.network, suite=suite, keys=[self.key])
        ledger.submit(raw).result(timeout=PATIENCE_S)

    def damage(self, data: bytes) -> None:
        for folder in (self.copy.folder, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place.folder, self.copy.folder)
        (self.copy.index / "data.mdb").write_bytes(data)

    def look(self) -> list[str | None]:
        """Return the codes of what ``doctor`` finds wrong."""
        doctor = LedgerDoctor(self.copy, scratch=self.scratch, progress=lambda *_step: None, is_replay_asked=False)
        return [finding.code for finding in doctor.findings() if not finding.ok]


@pytest.fixture(scope="module")
def ledger_world(tmp_path_factory: pytest.TempPathFactory) -> LedgerWorld:
    return LedgerWorld(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def vault_data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a vault's index in which every table holds something."""
    folder = tmp_path_factory.mktemp("vault") / "index.lmdb"
    index = RecordIndex(folder)
    for number in range(1, 4):
        row = BatchRow(
            number=number,
            id=bytes([number]) * 16,
            standard="payment@1",
            count=60,
            period_from="2026-01-01",
            period_to="2026-01-31",
            root=bytes(32),
            parquet=bytes(32),
            committed=None if number == 3 else number,
        )
        with index.write() as writer:
            writer.number_type("payment")
            writer.number_source(name=f"{number}.csv", digest=bytes([number]) * 32)
            writer.put_batch(row)
            writer.put_records((b"%d %05d" % (number, each), bytes(45)) for each in range(60))
            writer.finish_replacement(old=(number, 1), new=(number + 1, 1))
            writer.begin_replacement(old=(number, 2), new=(number + 1, 2))
            writer.begin_erasure(number, indexes=[3], reason="retention_over")
            if number == 3:
                writer.refuse_batch(number, IntegrityError("vault.batch_repeated", "it is there" * 300))
    index.close()
    return (folder / "data.mdb").read_bytes()


@pytest.fixture(params=["ledger", "vault"])
def data(request: pytest.FixtureRequest) -> bytes:
    if request.param == "ledger":
        return request.getfixturevalue("ledger_world").data
    return request.getfixturevalue("vault_data")


def use(folder: Path) -> None:
    """Read all that an environment holds, look for what it does not, and write into every table."""
    environment = open_environment(folder, max_dbs=16, map_size=1 << 26, sync=False)
    with environment.begin() as reader:
        names = list(reader.cursor().iternext(values=False))
    tables = [environment.open_db(name, create=False) for name in names]
    source = random.Random(0)
    with environment.begin() as reader:
        for table in tables:
            with reader.cursor(db=table) as cursor:
                assert sum(len(key) + value.count(0) for key, value in cursor) >= 0
                for key in (b"\x00", b"m" * 16, b"\xff" * 511):
                    cursor.set_range(key)
    for _ in range(4):
        with environment.begin(write=True) as writer:
            for table in tables:
                for size in (10, 300, 1900, 9000):
                    writer.put(source.randbytes(8), bytes(size), db=table)
                with writer.cursor(db=table) as cursor:
                    cursor.first()
                    while source.random() < 0.9 and cursor.delete():
                        pass
    environment.close()


def on_every_page(data: bytes, folder: Path, act: Callable[[], None]) -> None:
    """Do something with an environment in a folder, for each damage of each page, in one process for each page."""
    folder.mkdir()
    for page in pages_of(data):

        def each(say: Callable[[str], None], page: int = page) -> None:
            for what, bad in damaged(data, page):
                say(what)
                (folder / "data.mdb").write_bytes(bad)
                act()

        require_no_signal(each, said=folder.parent / "said")


def test_what_is_opened_can_be_read_and_written(data: bytes, tmp_path: Path) -> None:
    folder, refused = tmp_path / "env", tmp_path / "refused"

    def act() -> None:
        try:
            use(folder)
        except lmdb.Error:
            refused.touch()

    on_every_page(data, folder, act)
    assert refused.exists()
    (folder / "data.mdb").write_bytes(data)
    use(folder)


def test_a_vault_says_so_with_a_code(vault_data: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "vault" / "index.lmdb"
    folder.parent.mkdir()

    def act() -> None:
        codes = {"vault.erasure_pending"}
        for read in (read_vault, copy_vault):
            try:
                read(folder)
            except (Conflict, IntegrityError, Unavailable) as error:
                codes.add(error.code)
        assert codes <= {"vault.index_unreadable", "vault.index_damaged", "vault.erasure_pending"}

    on_every_page(vault_data, folder, act)


def read_vault(folder: Path) -> None:
    index = RecordIndex(folder, reads_only=True)
    try:
        with index.read() as view:
            rows = list(view.batches())
            assert [view.batch_by_id(row.id) for row in rows]
            list(view.records(b""))
            view.pending_batches(), view.refusals(), view.pending_replacements(), view.refused_replacements()
            view.pending_erasures(), view.type_number("payment"), view.source(1), view.replacement((1, 1))
    finally:
        index.close()


def copy_vault(folder: Path) -> None:
    to = folder.parent / "copy"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    copy_index(folder.parent, to)


def test_a_ledger_is_looked_at_and_goes_on(ledger_world: LedgerWorld, tmp_path: Path) -> None:
    world = ledger_world

    def act(say: Callable[[str], None]) -> None:
        say("looking")
        found = world.look()
        assert all(found)
        say(f"opening, after {found}")
        ledger = world.open(world.copy)
        assert (BLOCKS, world.root) == (ledger.last_block()[0], ledger.checkpoint().root)
        world.anchor(ledger, BLOCKS + 1)
        ledger.close()
        say("looking again")
        assert world.look() == []

    for page in pages_of(world.data):
        _, bad = next(damaged(world.data, page))
        world.damage(bad)
        require_no_signal(act, said=tmp_path / "said")
