"""A consortium of validators with a small ledger: one kind that writes notes, one that changes validators."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

import validator_process
from cometbft_world import comet_program, node_keys
from patience import PATIENCE_S
from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.cometbft.comet.home import Pace, chain_id_of
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalHomes, LocalNetwork, LocalNode, LocalSettings
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger, CometbftSettings
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.model import Committed, KeyRing, Kind, NetworkParameters, StateView
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.model import VALIDATOR_POWER

HOUR_MS = 3_600_000
NETWORK = hashlib.sha256(b"consensus world").digest()
Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]


class NoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Id16
    text: Annotated[str, Meta(max_length=50_000)] = ""


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    note: Id16


class PowerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    member: Annotated[str, Meta(max_length=32)]
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    power: Annotated[int, Meta(ge=0, le=1000)]


def check_note(tx, state, _ctx):
    if state.get(f"note/entry/{tx.body.id.hex()}") is not None:
        raise Conflict("note.repeated", f"note {tx.body.id.hex()} exists")


def write_note(tx, state, ctx):
    state.put(f"note/entry/{tx.body.id.hex()}", {"author": tx.author, "height": ctx.height})
    return ()


def signers_of_answer(tx, state):
    """Who may answer a note is known once there is one."""
    note = state.get(f"note/entry/{tx.body.note.hex()}")
    if note is None:
        raise Denied("note.unknown", f"there is no note {tx.body.note.hex()}")
    return {state.get(f"members/member/{note['author']}")["sign"]}


def write_answer(tx, state, _ctx):
    state.put(f"note/answer/{tx.body.note.hex()}", {"author": tx.author})
    return ()


def check_nothing(_tx, _state, _ctx):
    return


def set_power(tx, state, _ctx):
    state.put(f"members/validator/{tx.body.member}", {"key": tx.body.key, "power": tx.body.power})
    return ()


KINDS = KindTable(
    (
        Kind(name="note.write", room="note", version=1, body=NoteBody, check=check_note, apply=write_note),
        Kind(
            name="note.answer",
            room="note",
            version=1,
            body=AnswerBody,
            check=check_nothing,
            apply=write_answer,
            signers=signers_of_answer,
        ),
        Kind(name="members.power", room="members", version=1, body=PowerBody, check=check_nothing, apply=set_power),
    )
)


class StateKeys:
    def signing_key(self, state, member):
        record = state.get(f"members/member/{member}")
        if record is None:
            raise Denied("members.unknown", f"{member} is not a member")
        return record["sign"]

    def kind_versions(self, state, *, height):
        return {name: 2 for name, begins in (state.get("note/versions") or {}).items() if height >= begins}

    # This ledger has one epoch: no kind of it writes another.
    epoch_key = "members/epoch"

    def epoch_number(self, state):
        return 0

    def next_policy(self, epoch, *, previous, origin):
        raise AssertionError(f"{origin}: {epoch.hex()} after {previous.hex()}")


class ShiftedClock:
    """The system's clock, wrong by a fixed time."""

    def __init__(self, shift_ms: int) -> None:
        self._shift_ms = shift_ms

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self._shift_ms


class Roster:
    """The institutions of a network, all of whose keys follow from their numbers."""

    def __init__(
        self, validators: int = 4, *, suite: SuiteName = SuiteName.INTL, genesis_ms: int | None = None
    ) -> None:
        self.suite = get_suite(suite)
        self.members = [MemberId(f"node{number}") for number in range(validators)]
        self.keys = {
            member: self.suite.signing_key_from_seed(hashlib.sha256(member.encode()).digest())
            for member in self.members
        }
        self.comet_keys = {member: node_keys(number) for number, member in enumerate(self.members)}
        self.genesis_ms = genesis_ms if genesis_ms is not None else time.time_ns() // 1_000_000 - 1000
        state = {
            **{f"members/member/{member}": {"sign": key.public_key} for member, key in self.keys.items()},
            **{
                f"members/validator/{member}": {"key": keys.validator_key, "power": self.voting_power}
                for member, keys in self.comet_keys.items()
            },
        }
        self.parameters = NetworkParameters(
            network=NETWORK,
            suite=suite,
            origin=f"shuiqiao/{NETWORK.hex()}",
            operator=MemberId(""),
            operator_key=b"",
            genesis_time_ms=self.genesis_ms,
            initial_state=state,
            witnesses={member: key.public_key for member, key in self.keys.items()},
            quorum=2 * validators // 3 + 1,
        )
        self.policy = self.parameters.policy

    key_ring: KeyRing = StateKeys()
    kinds = KINDS
    voting_power = VALIDATOR_POWER

    def policy_of(self, _state: StateView) -> CheckpointPolicy:
        return self.policy

    def note(self, number: int, *, text: str = "", **more) -> bytes:
        return self.sign("note.write", NoteBody(id=number.to_bytes(16, "big"), text=text), **more)

    def answer(self, number: int) -> bytes:
        return self.sign("note.answer", AnswerBody(note=number.to_bytes(16, "big")))

    def power(self, member: str, power: int, *, key: bytes | None = None) -> bytes:
        own = key if key is not None else self.comet_keys[MemberId(member)].validator_key
        return self.sign("members.power", PowerBody(member=member, key=own, power=power))

    def sign(
        self,
        kind: str,
        body: msgspec.Struct,
        *,
        author: str = "node0",
        tx_id: bytes | None = None,
        valid_ms: int = HOUR_MS,
    ) -> bytes:
        """valid_ms: for how long from now, in milliseconds."""
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=MemberId(author),
            valid_until_ms=time.time_ns() // 1_000_000 + valid_ms,
            id=tx_id if tx_id is not None else os.urandom(16),
        )
        return sign_transaction(
            draft, network=self.parameters.network, suite=self.suite, keys=[self.keys[MemberId(author)]]
        )

    def application_settings(self, *, disk: Disk | None = None, **more) -> ApplicationSettings:
        settings = CopySettings(map_bytes=1 << 30, disk=disk or Disk())
        return ApplicationSettings(copy=settings, **more)

    def open_ledger(
        self,
        folder: Path,
        member: str,
        *,
        comet: Path,
        clock: Clock | None = None,
        kinds: KindTable | None = None,
        disk: Disk | None = None,
        **more,
    ) -> CometbftLedger:
        return CometbftLedger.open(
            folder,
            parameters=self.parameters,
            kinds=kinds or self.kinds,
            key_ring=self.key_ring,
            clock=clock or SystemClock(),
            policy_of=self.policy_of,
            cosigner=Cosigner(member=MemberId(member), key=self.keys[MemberId(member)]),
            settings=CometbftSettings(comet=comet, application=self.application_settings(disk=disk, **more)),
        )


class Consortium:
    """Validators on loopback, each with its ledger in this very process, or in one of its own (``spawn``)."""

    def __init__(self, folder: Path, roster: Roster, *, commit_ms: int = 50, apart: Sequence[str] = (), **more) -> None:
        """apart: validators that are not opened yet."""
        self.processes: list[ValidatorProcess] = []
        self.roster = roster
        self.folder = folder
        self.more = more
        self.homes = LocalHomes(
            folder / "comet",
            [
                LocalNode(name=member, keys=roster.comet_keys[member], power=roster.voting_power)
                for member in roster.members
            ],
            settings=LocalSettings(
                chain_id=chain_id_of(roster.parameters.network),
                genesis_time_ms=roster.genesis_ms,
                pace=Pace(commit_ms=commit_ms, propose_ms=600, vote_ms=300),
            ),
        )
        self.network = LocalNetwork(self.homes.folders, program=comet_program(), mesh=self.homes.mesh)
        self.ledgers: dict[str, CometbftLedger] = {}
        for member in roster.members:
            if member not in apart:
                self.open(member)

    def ledger_folder(self, member: str) -> Path:
        return self.folder / "ledger" / member

    def open(self, member: str, **more) -> CometbftLedger:
        ledger = self.roster.open_ledger(
            self.ledger_folder(member),
            member,
            comet=self.network.home(member),
            **{**self.more, **more},
        )
        self.ledgers[member] = ledger
        return ledger

    def spawn(self, member: str) -> ValidatorProcess:
        """Open a validator's ledger in a process of its own."""
        self.processes.append(
            ValidatorProcess(
                self.ledger_folder(member),
                member,
                comet=self.network.home(member),
                genesis_ms=self.roster.genesis_ms,
            )
        )
        return self.processes[-1]

    def start(self, names: Sequence[str] | None = None) -> None:
        self.network.start(names)
        self.network.wait_for_height(1, timeout_s=PATIENCE_S, names=names)

    def close(self) -> None:
        self.network.stop()
        for process in self.processes:
            process.kill()
        for ledger in self.ledgers.values():
            ledger.close()

    def app_hashes(self, names: Sequence[str] | None = None) -> set[bytes]:
        """The application hashes of the named validators, or of all that are open here."""
        return {self.ledgers[name].application.app_state.app_hash for name in names or self.ledgers}


class ValidatorProcess:
    """A validator's ledger in a process that can be killed; it ends with this one."""

    def __init__(self, folder: Path, member: str, *, comet: Path, genesis_ms: int) -> None:
        command = [sys.executable, validator_process.__file__, str(folder), member, str(comet), str(genesis_ms)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == {"open": member}

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the validator's process ended"
        return json.loads(line)

    def standing(self) -> dict[str, Any]:
        """Return its height, blocks and application hash."""
        assert self._process.stdin is not None
        self._process.stdin.write("standing\n")
        self._process.stdin.flush()
        return self._read()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Load:
    """A thread that keeps handing in notes at several ledgers, a bounded number of them unanswered."""

    def __init__(self, roster: Roster, ledgers: Sequence[CometbftLedger], *, in_flight: int = 24) -> None:
        self.answers: list[Future[Committed]] = []
        self._roster = roster
        self._ledgers = ledgers
        self._room = threading.Semaphore(in_flight)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in count(1_000_000):
            self._room.acquire()
            if self._is_over.is_set():
                return
            answer = self._ledgers[number % len(self._ledgers)].submit(self._roster.note(number))
            answer.add_done_callback(lambda _answer: self._room.release())
            self.answers.append(answer)

    @property
    def done(self) -> int:
        return sum(1 for answer in list(self.answers) if answer.done())

    def go_on(self, more: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Return once so many more were answered."""
        goal = self.done + more
        wait_until(lambda: self.done >= goal, timeout_s=timeout_s)

    def stop(self) -> list[Committed]:
        """End it and return what became of each note, none of which failed."""
        self._is_over.set()
        self._room.release()
        self._thread.join()
        return [answer.result(timeout=PATIENCE_S) for answer in self.answers]


def wait_until(condition: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.02)
