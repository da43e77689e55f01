"""Reads a home without its private keys, its writer or its server, and writes nothing.

``audit``, ``receipt``, ``record find`` and ``members list`` read a home as it lies on the disk: a follower's without
its writer, a copy that cannot be written, one whose key files are elsewhere, one whose server runs. What the index
lacks is made again in a scratch folder from the segments, which alone are the ledger [STORE-1]; the home
stays as it is. What shows taxpayers' data out of the database or the batch files (``record changed``, ``record find``)
needs the passphrase of the data key, and asks for it with the first row; ``audit`` recomputes the records with it, and
without it holds what is not encrypted against the ledger. The other commands read nothing encrypted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.durable import SYSTEM_DISK
from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.base.progress import no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.model import Block, Committed, Event, LedgerEngine, NetworkParameters, StateView, Transaction
from shuiqiao.ledger.receipts.making import make_receipt
from shuiqiao.ledger.store.checkpoint_file import CHECKPOINTS_FOLDER
from shuiqiao.ledger.store.epochs import StoredEpochs
from shuiqiao.ledger.store.index import IndexReader
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.log_reading import LogReading
from shuiqiao.ledger.store.state_view import SnapshotState, ValueCache
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.model import Role
from shuiqiao.node.home.keys import find_passphrase, had_database
from shuiqiao.node.home.ledger_folder import LedgerFolder, no_checkpoint, reexecute_log
from shuiqiao.node.home.settings import (
    Home,
    NodeSettings,
    database_of,
    load_genesis,
    load_settings,
    require_member,
    require_role,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.crypto.file_cipher import FileCipher
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.store.index import Head
    from shuiqiao.node.home.data_key import DataKey
    from shuiqiao.vault.service import Vault


class StoredLedger(LogReading):
    """A ledger folder opened for reading alone; everything is as of the last block that is on the disk."""

    def __init__(self, ledger: LedgerFolder) -> None:
        """Open; raises IntegrityError ``ledger.segments_behind``, ``ledger.checkpoint_contradicted``."""
        self._stack = ExitStack()
        self._ledger = ledger
        self.machine = ledger.machine()
        self._hash_name = ledger.hash_name
        self._files = ledger.files()
        self.epochs = StoredEpochs(ledger.folder / CHECKPOINTS_FOLDER, machine=self.machine, disk=SYSTEM_DISK)
        # The notes before the index: that then covers at least what they say.
        self._notes = ledger.stored_notes()
        try:
            sizes = [decode_signed_note(note).head.size for note in self._notes.values()]
            self._index = self._open_index(max(sizes, default=0))
            self._view = SnapshotState(self._index.view, cache=ValueCache())
            self.epochs.trail = ledger.trail(self._index)
            for name, note in self._notes.items():
                self._require_note(name, ledger.checkpoint_of(note, index=self._index))
        except BaseException:
            self.close()
            raise

    def _open_index(self, size: int) -> IndexReader:
        """Open the index if it covers a size, else one that is made from the segments."""
        try:
            index = self._stack.enter_context(IndexReader(self._ledger.index))
            if index.head.size >= size:
                return index
        except IndexUnreadable:
            # There is none, or a stopped machine left one that nobody trusts.
            pass
        return self._stack.enter_context(self._executed(until_height=None))

    @contextmanager
    def _executed(self, *, until_height: int | None) -> Generator[IndexReader]:
        with tempfile.TemporaryDirectory(prefix="shuiqiao-look-") as scratch:
            found = reexecute_log(self._ledger, Path(scratch), until_height=until_height, progress=no_progress)
            with IndexReader(found.index) as index:
                yield index

    def _require_note(self, name: str, note: Checkpoint) -> None:
        size = self._index.head.size
        if note.size > size:
            raise IntegrityError(
                "ledger.segments_behind",
                f"the segments end at {size} leaves, the signed checkpoint {name} says {note.size}",
            )
        if note.size and self.root_at(note.size) != note.root:
            raise IntegrityError(
                "ledger.checkpoint_contradicted",
                f"the stored checkpoint {name} says root {note.root.hex()} at {note.size} leaves, "
                f"the blocks give {self.root_at(note.size).hex()}",
            )

    def close(self) -> None:
        """Release the files."""
        self._files.close()
        self._stack.close()

    @property
    def parameters(self) -> NetworkParameters:
        """The network."""
        return self._ledger.parameters

    def view(self) -> tuple[Head, SnapshotState]:
        """See LogReading."""
        return self._index.head, self._view

    def state(self) -> StateView:
        """The state after the last block."""
        return self._view

    def last_block(self) -> tuple[int, int]:
        """Height and time (ms) of the last block."""
        return self._index.head.height, self._index.head.time_ms

    def wait_for_block(self, height: int) -> None:
        """Return if the block is here: a home that is only read gets no new one."""
        if self._index.head.height < height:
            raise Unavailable(
                "ledger.block_awaited",
                f"this copy holds {self._index.head.height} blocks, block {height} is asked for",
            )

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:  # noqa: ARG002 - never above what is here
        """Return what the blocks come to; its note is empty, for signed is only what ``receipt`` is made under.

        Raises Unavailable ``ledger.checkpoint_missing`` where nothing that was signed lies beside the blocks.
        """
        head = self._index.head
        if head.size and not self._notes:
            raise no_checkpoint(self._ledger.folder)
        return Checkpoint(origin=self.parameters.origin, size=head.size, root=head.root, note=b"")

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return a receipt under the newest stored checkpoint that has all its signatures.

        Raises what ``make_receipt`` raises; Unavailable ``ledger.quorum_not_reached`` where no such note lies here.
        """
        with self.proving() as prove:
            return prove(index, state_keys)

    @contextmanager
    def proving(self, checkpoint: Checkpoint | None = None) -> Generator[Callable[[int, Sequence[str]], bytes]]:
        """Give what returns receipts, by index and keys of the state, all under one checkpoint.

        checkpoint: of this very log and with all its signatures; None takes the newest one that is stored. The state
        behind an older one is executed again, once for all of them. Raises as ``receipt``.
        """
        chosen = checkpoint or self._confirmed()

        def made(view: SnapshotState) -> Callable[[int, Sequence[str]], bytes]:
            return lambda index, keys: make_receipt(self, index, checkpoint=chosen, view=view, state_keys=keys)

        if chosen.size == self._index.head.size:
            yield made(self._view)
            return
        block = self._index.view.block_of_index(chosen.size - 1)
        with self._executed(until_height=None if block is None else block.height) as then:
            yield made(SnapshotState(then.view, cache=ValueCache()))

    def _confirmed(self) -> Checkpoint:
        found = self._ledger.confirmed(self._notes, index=self._index, trail=self.epochs.trail)
        if found is None:
            raise Unavailable(
                "ledger.quorum_not_reached",
                f"no checkpoint in {self._ledger.folder} carries all signatures that it needs",
                next_step="ask the writer, or a node that runs, for this receipt",
            )
        return found

    def submit(self, raw: bytes) -> Future[Committed]:
        """Judge a transaction as far as its form goes, and take none: a home that is looked at is not written."""
        answer: Future[Committed] = Future()
        try:
            self.machine.decode(raw)
            answer.set_exception(Denied("node.only_looked_at", f"{self._ledger.folder} was opened to be looked at"))
        except ShuiqiaoError as error:
            answer.set_exception(error)
        return answer

    def subscribe(self, listener: Callable[[Block, Sequence[Event]], None]) -> None:
        """Nothing is committed here, so no listener is ever called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeReader:
    """A home that is being read."""

    home: Home
    settings: NodeSettings
    parameters: NetworkParameters
    engine: LedgerEngine
    decode: Callable[[bytes], Transaction]
    """Returns a transaction of this network; raises what ``StateMachine.decode`` refuses."""

    @property
    def suite(self) -> CipherSuite:
        """The network's cipher suite."""
        return get_suite(self.parameters.suite)

    @property
    def member(self) -> MemberId:
        """Whose home it is."""
        return MemberId(self.settings.member)

    def now_ms(self) -> int:
        """Return the time of this machine's clock, in milliseconds."""
        return SystemClock().now_ms()

    def waits_for(self) -> str:
        """Nothing: a home that is looked at does not go on."""
        return ""

    @contextmanager
    def database(self) -> Generator[Engine]:
        """Open the home's database for reading; raises as ``open_database_to_read``."""
        from shuiqiao.node.home.database import open_database_to_read

        with open_database_to_read(database_of(self.home), was_used=had_database(self.home)) as database:
            yield database

    def cipher(self, database: Engine) -> ColumnCipher:
        """Return what decrypts the columns that hold taxpayers' data: with the first of them it asks the passphrase.

        Its use raises what ``DataKey.cipher`` and ``find_passphrase`` raise.
        """
        return self._data_key().cipher(database)

    def file_cipher(self) -> FileCipher:
        """Return what decrypts the batch files: with the first of them it asks the passphrase, as ``cipher`` does."""
        from shuiqiao.crypto.file_cipher import FileCipher

        def open_key() -> bytes:
            with self.database() as database:
                return self._data_key().open(database)

        return FileCipher(open_key, suite=self.settings.suite, entropy=system_entropy)

    def _data_key(self) -> DataKey:
        from shuiqiao.node.home.data_key import DataKey

        return DataKey(
            self.home,
            suite=self.settings.suite,
            passphrase=partial(find_passphrase, self.home),
            entropy=system_entropy,
            reads_only=True,
        )

    @contextmanager
    def vault(self) -> Generator[Vault | None]:
        """Open a bureau's vault for reading, None where there is none."""
        if self.settings.role is not Role.TAX_BUREAU or not self.home.vault.is_dir():
            yield None
        else:
            with self.records() as vault:
                yield vault

    @contextmanager
    def records(self) -> Generator[Vault]:
        """Open a bureau's vault for reading, an empty one where nothing was ever taken in.

        Raises Denied ``node.role_wrong`` at the home of another institution.
        """
        # Most who read a home want its ledger, and the vault's libraries take longer to load than that to read.
        from shuiqiao.standards.publication import load_catalogue
        from shuiqiao.vault.service import Vault

        require_role(self.settings, Role.TAX_BUREAU)
        is_there = self.home.vault.is_dir()
        with ExitStack() as stack:
            folder = self.home.vault
            if not is_there:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shuiqiao-look-")))
            vault = Vault(
                folder,
                suite=self.suite,
                catalogue=load_catalogue(),
                clock=SystemClock(),
                entropy=system_entropy,
                cipher=self.file_cipher(),
                reads_only=is_there,
            )
            stack.callback(vault.close)
            yield vault


@contextmanager
def read_home(home: Home) -> Generator[HomeReader]:
    """Read a home from its files, whether a server of it runs or not.

    ::

        with read_home(Home(Path("my-bank"))) as reader:
            height, time_ms = reader.engine.last_block()

    Raises what ``load_settings``, ``load_genesis``, ``require_member`` and ``StoredLedger`` raise.
    """
    settings, genesis = load_settings(home), load_genesis(home.genesis)
    require_member(settings, genesis)
    parameters = network_parameters(genesis)
    ledger = LedgerFolder.of_home(home)
    engine = StoredLedger(ledger)
    try:
        yield HomeReader(
            home=home, settings=settings, parameters=parameters, engine=engine, decode=ledger.machine().decode
        )
    finally:
        engine.close()
