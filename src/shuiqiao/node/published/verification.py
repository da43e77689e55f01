"""Verifying a receipt, or a published log, with a genesis and nothing else: no home, no ledger, no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.base.progress import Progress
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, Checkpoint, read_checkpoint
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.ledger.receipts.verification import VerifiedReceipt, verify_receipt
from shuiqiao.ledger.tiles.reader import FolderTiles, TileSource, verify_pinned
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.making import load_genesis
from shuiqiao.node.home.settings import Home
from shuiqiao.node.kinds import network_kinds
from shuiqiao.node.published.tile_verification import VerifiedLog, verify_published
from shuiqiao.vault.evidence import (
    EVIDENCE_MAGIC,
    MAX_EVIDENCE_FILE_BYTES,
    VerifiedRecord,
    decode_evidence,
    is_evidence,
    verify_evidence,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptVerifier:
    """A genesis somebody trusts, ready to judge receipts."""

    parameters: NetworkParameters
    suite: CipherSuite
    pinned: Checkpoint | None = None
    """A checkpoint that every receipt must be of one history with."""
    tiles: TileSource | None = None

    @classmethod
    def from_genesis(
        cls, *, genesis: Path | None, home: Path | None, since: Path | None = None, tiles: Path | None = None
    ) -> ReceiptVerifier:
        """Take the genesis from a file or from a home; never from a receipt.

        since: a checkpoint that is known to be true. tiles: a folder of the log's static files, to compare with it.
        """
        if genesis is None and home is None:
            raise InvalidInput(
                "node.genesis_unnamed",
                "verifying needs a genesis you trust, and none was named",
                next_step="add --genesis genesis.json or --home FOLDER",
            )
        path = genesis if genesis is not None else Home(home or Path()).genesis
        parameters = network_parameters(load_genesis(path))
        return cls(
            parameters=parameters,
            suite=get_suite(parameters.suite),
            pinned=None if since is None else load_known_checkpoint(since),
            tiles=None if tiles is None else FolderTiles(tiles),
        )

    @property
    def fingerprint(self) -> str:
        """The network id in hex: what people compare."""
        return self.parameters.network.hex()

    def verify_file(self, path: Path) -> VerifiedReceipt | VerifiedRecord:
        """Verify a file that is a receipt or a record's evidence.

        Raises the code of what failed, or Unavailable ``node.receipt_unreadable``.
        """
        data = _read(path, limit=MAX_EVIDENCE_FILE_BYTES + len(EVIDENCE_MAGIC))
        return self.verify_record(data) if is_evidence(data) else self.verify(data)

    def verify_record(self, data: bytes) -> VerifiedRecord:
        """Verify the evidence of a record; raises the code of what failed."""
        evidence = decode_evidence(data)
        return verify_evidence(evidence, receipt=self.verify(evidence.receipt), suite=self.suite)

    def verify_published(self, *, progress: Progress) -> VerifiedLog:
        """Verify the static files themselves; raises the code of what failed. Only where they were named."""
        if self.tiles is None:
            raise ValueError("no static files were named")
        return verify_published(
            self.tiles, parameters=self.parameters, suite=self.suite, since=self.pinned, progress=progress
        )

    def verify(self, data: bytes) -> VerifiedReceipt:
        """Verify receipt bytes; raises the code of what failed."""
        found = verify_receipt(
            data, parameters=self.parameters, kinds=network_kinds(), key_ring=MemberKeyRing(), suite=self.suite
        )
        if self.pinned is not None:
            verify_pinned(found.checkpoint, pinned=self.pinned, tiles=self.tiles, suite=self.suite)
        return found


def load_known_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file that the caller knows to be true.

    Raises Unavailable ``node.receipt_unreadable``, IntegrityError ``ledger.checkpoint_malformed``.
    """
    return read_checkpoint(_read(path, limit=MAX_SIGNED_NOTE_BYTES))


def _read(path: Path, *, limit: int) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise Unavailable("node.receipt_unreadable", f"{path} cannot be read: {error.strerror}") from error
