"""The standing auditor: follows what a member publishes, for years, on an outsider's machine and with no signing key.

It keeps a copy of the ledger in a folder of its own, and in each round, in this order:

1. takes the published checkpoint, which must be of the network of its genesis and signed by those whose signatures
   count in its epoch, as its own copy knows them;
2. copies what is new: every leaf lies under that checkpoint, and what it saw before is the beginning of it;
3. verifies every signature and executes every rule itself, up to the very roots that were signed (``LogCopier``);
4. asks for the quorum of that epoch on the checkpoint, and keeps it.

A **contradiction** is what the signers of the log cannot explain: two signed histories, or a signed block that breaks
the rules. It is kept in the folder with both signed notes and ends the audit for good. All else (a server that is down,
a damaged file, an old copy, a signature that is missing) accuses nobody, for anybody could have sent it: the round
failed, and the next one asks again.

Where signers changed since, so that the copy does not know the keys of a checkpoint, the members are first followed
from the genesis to it through every vote (``verify_published``), and only then is anything of it copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import cosigners_of, verify_log_signature, verify_note
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, Checkpoint, read_checkpoint
from shuiqiao.ledger.engine.catch_up import HistoryBroken, LogCopier
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings, FollowerSettings
from shuiqiao.ledger.log.tree import consistency_path
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkAlarm, ForkKind
from shuiqiao.ledger.tiles.paths import CHECKPOINT_PATH
from shuiqiao.ledger.tiles.reader import PublishedLog, TileSource
from shuiqiao.ledger.transactions.verifiers import open_verifier
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.published.verification import blocks_of_leaves, require_own_network, verify_published

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.ledger.model import NetworkParameters

ALARMS_FOLDER: Final = "alarms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round came to. transactions: executed in this round. cosigners: of the checkpoint, in order."""

    checkpoint: Checkpoint
    height: int
    time_ms: int
    transactions: int
    cosigners: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "size": self.checkpoint.size,
            "root": self.checkpoint.root.hex(),
            "height": self.height,
            "time": iso_from_ms(self.time_ms),
            "transactions": self.transactions,
            "cosigners": list(self.cosigners),
        }


class StandingAudit:
    """An auditor's copy of one network's ledger, and the published files that it follows.

    ::

        with StandingAudit(Path("audit"), source=HttpTiles(url), parameters=parameters, clock=SystemClock()) as audit:
            print(audit.go_round().checkpoint.size)
    """

    def __init__(self, folder: Path, *, source: TileSource, parameters: NetworkParameters, clock: Clock) -> None:
        """Open the copy in a folder or begin one; raises what ``LedgerCopy`` and ``AlarmFile.load`` raise."""
        self._source = source
        self._clock = clock
        self._suite = get_suite(parameters.suite)
        self.parameters = parameters
        settings = CopySettings()
        self._copy = LedgerCopy(folder, machine=network_machine(parameters), settings=settings)
        try:
            (folder / ALARMS_FOLDER).mkdir(exist_ok=True)
            self._alarm_file = AlarmFile(folder / ALARMS_FOLDER, disk=settings.disk)
            self._contradiction = self._alarm_file.load()
            self._accepted = self._copy.stored_checkpoint()
            self._verifier = open_verifier(self._suite, processes=0)
        except BaseException:
            self._copy.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and lock."""
        self._verifier.close()
        self._copy.close()

    @property
    def contradiction(self) -> ForkAlarm | None:
        """What ended the audit, None while nothing did."""
        return self._contradiction

    def evidence(self) -> dict[str, Any]:
        """Return the contradiction as a JSON object that holds both signed notes; only where there is one."""
        found = self._contradiction
        assert found is not None
        return {
            "network": self.parameters.network.hex(),
            "kind": str(found.kind),
            "found": iso_from_ms(found.found_ms),
            "detail": found.detail,
            "own_size": found.own_size,
            "own_root": found.own_root.hex(),
            "own_note": found.own_note.decode(),
            "new_note": found.new_note.decode(),
        }

    def go_round(self, *, progress: Progress = no_progress) -> Round:
        """Ask once, and return what holds now.

        Raises IntegrityError ``node.audit_contradicted``, then and ever after. What else is raised accuses nobody:
        Unavailable ``node.audit_unproven``, ``node.audit_older``, ``ledger.tile_missing``; IntegrityError of
        ``PublishedLog`` and ``verify_note``; what the source raises.
        """
        if self._contradiction is not None:
            raise _contradicted(self._contradiction)
        note = self._source.get(CHECKPOINT_PATH, max_bytes=MAX_SIGNED_NOTE_BYTES)
        if note is None:
            raise Unavailable(
                "ledger.tile_missing",
                "there is no checkpoint at this address",
                next_step="name the folder of the published files, or give a read token for a member's API",
            )
        head = read_checkpoint(note)
        require_own_network(head, self.parameters)
        files = _OneMoment(self._source, note=note)
        # Step 1: who signed it.
        self._require_signed(head, files=files, progress=progress)
        # Steps 2 and 3: what is new, rule by rule.
        before = self._copy.head
        log = _PublishedBlocks(PublishedLog(files, checkpoint=head, suite=self._suite), copy=self._copy)
        progress("copy and execute the log 复制并执行日志", before.size, head.size)
        self._follow(head, log=log)
        # Step 4: the quorum of its epoch.
        policy = self._copy.epochs.trail.policy_at(head.size)
        found = verify_note(note, policy=policy, suite=self._suite)
        self._accept(found)
        now = self._copy.head
        return Round(
            checkpoint=found,
            height=now.height,
            time_ms=now.time_ms,
            transactions=(now.size - now.height) - (before.size - before.height),
            cosigners=tuple(map(str, cosigners_of(note, policy=policy))),
        )

    def _require_signed(self, head: Checkpoint, *, files: TileSource, progress: Progress) -> None:
        """Return if a checkpoint bears the signatures that make it the log's own, in its epoch."""
        policy = self._copy.epochs.trail.policy_at(head.size)
        try:
            verify_log_signature(head.note, policy=policy, suite=self._suite)
        except IntegrityError:
            if head.size <= self._copy.head.size:
                # Every epoch up to it is known here.
                raise
            self._follow_members(head, files=files, progress=progress)

    def _follow_members(self, head: Checkpoint, *, files: TileSource, progress: Progress) -> None:
        """Follow the members from the genesis to a checkpoint whose keys are not known here yet."""

        def verify(since: Checkpoint | None) -> None:
            verify_published(files, parameters=self.parameters, suite=self._suite, since=since, progress=progress)

        try:
            verify(self._accepted)
        except IntegrityError as error:
            if error.code != "ledger.pin_contradicted":
                raise
            # It counts only if that other history is truly signed, too.
            verify(None)
            raise self._end(ForkKind.NOT_AN_EXTENSION, error.message, head) from error

    def _follow(self, head: Checkpoint, *, log: _PublishedBlocks) -> None:
        copier = LogCopier(
            self._copy,
            writer=log,
            verifier=self._verifier,
            settings=FollowerSettings(),
            tell=lambda _block, _events: None,
        )
        try:
            copier.follow(head, accepted=None)
        except HistoryBroken as broken:
            if broken.is_signed:
                raise self._end(broken.kind, broken.detail, head) from broken
            raise Unavailable(
                "node.audit_unproven",
                f"the published files do not lead to what was signed, and do not show who is to blame: {broken.detail}",
                retry_after_s=1.0,
            ) from broken
        if self._accepted is not None and head.size < self._accepted.size:
            raise Unavailable(
                "node.audit_older",
                f"{head.size} leaves are published, {self._accepted.size} were seen before: it is an old copy",
                retry_after_s=1.0,
            )

    def _accept(self, found: Checkpoint) -> None:
        if self._accepted is not None and found.note == self._accepted.note:
            return
        for file in (self._copy.checkpoint_file, self._copy.cosigned_file):
            file.keep(found)
            file.flush()
        self._accepted = found

    def _end(self, kind: ForkKind, detail: str, head: Checkpoint) -> IntegrityError:
        own = self._copy.head
        self._contradiction = ForkAlarm(
            kind=kind,
            found_ms=self._clock.now_ms(),
            own_size=own.size,
            own_root=own.root,
            own_note=b"" if self._accepted is None else self._accepted.note,
            new_note=head.note,
            detail=detail,
        )
        self._alarm_file.save(self._contradiction)
        return _contradicted(self._contradiction)


class _OneMoment:
    """Published files as of one checkpoint, while whoever publishes them goes on."""

    def __init__(self, source: TileSource, *, note: bytes) -> None:
        self._source = source
        self._note = note

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        """See TileSource."""
        return self._note if path == CHECKPOINT_PATH else self._source.get(path, max_bytes=max_bytes)


class _PublishedBlocks:
    """The blocks of a published log behind those of a copy: a BlockSource, in which nothing is verified."""

    def __init__(self, log: PublishedLog, *, copy: LedgerCopy) -> None:
        self._log = log
        self._copy = copy

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """See BlockSource; from_height: the one behind the copy's last block."""
        head = self._copy.head
        assert from_height == head.height + 1
        height, first = from_height, head.size
        for transactions, entry in blocks_of_leaves(self._log.entries(first=first)):
            yield Block(
                height=height,
                # Whoever executes the block reads its time in the entry, and judges one that cannot be read.
                time_ms=0,
                first_index=first,
                transactions=tuple(transactions),
                entry=entry,
            )
            height, first = height + 1, first + len(transactions) + 1

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """See BlockSource."""
        name = self._copy.machine.suite.hash_name
        return consistency_path(self._log, old_size=old_size, new_size=new_size, hash_name=name)


def _contradicted(found: ForkAlarm) -> IntegrityError:
    return IntegrityError(
        "node.audit_contradicted",
        f"what was signed contradicts itself or the rules ({found.kind}): {found.detail}",
        next_step="keep the folder as it is, and show its evidence to the regulator and the members",
    )
