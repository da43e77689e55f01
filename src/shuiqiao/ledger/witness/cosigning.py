"""The operator's side of witnessing: asks the witnesses of a log for their cosignatures over one checkpoint.

It asks all at once, waits for those that are there and no longer, verifies each answer under the policy before it goes
into the note, and says who is missing and why [WITNESS-7]. It neither signs checkpoints nor decides how often to ask.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from shuiqiao.base.errors import Conflict, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.cosignature import verify_cosignature
from shuiqiao.ledger.checkpoints.note import add_cosignatures
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_line, encode_text

DEFAULT_TIMEOUT_S: Final = 2.0
DEFAULT_LINGER_S: Final = 0.05
"""How long more cosignatures than the quorum are worth waiting for, in seconds."""

_ATTEMPTS = 3
"""Another caller may move a witness on between the question for its size and the request."""

Proofs = Callable[[int, int], Sequence[bytes]]
"""Return the RFC 6962 consistency path from an older size (never 0) to a newer one."""


class WitnessPeer(Protocol):
    """A witness as the operator reaches it: ``Witness`` in one process, a client over HTTP elsewhere.

    Both calls may raise any ShuiqiaoError, and block for as long as the connection lets them.
    """

    member: MemberId

    def witnessed_size(self, origin: str) -> int:
        """Return the size it cosigned last; over HTTP the answer to a request from size 0."""
        ...

    def cosign(self, note: bytes, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """Return its cosignature line; Conflict ``ledger.witness_size_stale`` if old_size is not what it has."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedCheckpoint:
    """What came of asking."""

    checkpoint: Checkpoint
    """The checkpoint, its note with the cosignatures that were given."""
    cosigners: tuple[MemberId, ...]
    missing: Mapping[MemberId, ShuiqiaoError]
    """Witness to the reason why its cosignature is not there."""
    still_needed: int
    """Cosignatures short of the quorum; 0 if the note counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    member: MemberId
    line: bytes = b""
    refusal: ShuiqiaoError | None = None


class CosignatureCollector:
    """Asks the witnesses of one policy; ``collect`` is for one thread at a time."""

    def __init__(
        self,
        policy: CheckpointPolicy,
        *,
        suite: CipherSuite,
        peers: Iterable[WitnessPeer],
        proofs: Proofs,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        linger_s: float = DEFAULT_LINGER_S,
    ) -> None:
        """timeout_s: how long to wait for the quorum. linger_s: how long to wait for others once it is there."""
        self._policy = policy
        self._suite = suite
        self._peers = {peer.member: peer for peer in peers if peer.member in policy.witnesses}
        self._proofs = proofs
        self._timeout_s = timeout_s
        self._linger_s = linger_s
        self._busy: dict[MemberId, threading.Thread] = {}

    def collect(self, checkpoint: Checkpoint) -> CosignedCheckpoint:
        """Return a checkpoint of the log's own signature with what its witnesses added within the time.

        Raises what ``add_cosignatures`` raises for a note that is not of this policy; no witness can make it raise.
        """
        note = add_cosignatures(checkpoint.note, (), policy=self._policy, suite=self._suite)
        answers = self._ask_all(checkpoint)
        lines = {answer.member: answer.line for answer in answers if answer.refusal is None}
        missing = {answer.member: answer.refusal for answer in answers if answer.refusal is not None}
        for member in self._policy.witnesses:
            if member not in lines and member not in missing:
                missing[member] = self._away(member)
        note = add_cosignatures(note, lines.values(), policy=self._policy, suite=self._suite)
        return CosignedCheckpoint(
            checkpoint=Checkpoint(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, note=note),
            cosigners=tuple(sorted(lines)),
            missing=missing,
            still_needed=max(0, self._policy.quorum - len(lines)),
        )

    def _ask_all(self, checkpoint: Checkpoint) -> list[_Answer]:
        """Ask every witness that is not still busy with an earlier question, each on a thread of its own."""
        box: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        asked = 0
        for member, peer in self._peers.items():
            busy = self._busy.get(member)
            if busy is not None and busy.is_alive():
                continue
            # A daemon: a witness that never answers must not keep the operator from ending.
            thread = threading.Thread(
                target=lambda peer=peer: box.put(self._ask(peer, checkpoint)), name=f"cosign-{member}", daemon=True
            )
            self._busy[member] = thread
            thread.start()
            asked += 1
        return self._await(box, asked=asked)

    def _await(self, box: queue.SimpleQueue[_Answer], *, asked: int) -> list[_Answer]:
        deadline = time.monotonic() + self._timeout_s
        answers: list[_Answer] = []
        given = 0
        while len(answers) < asked:
            try:
                answer = box.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            answers.append(answer)
            given += answer.refusal is None
            if given == self._policy.quorum and answer.refusal is None:
                deadline = min(deadline, time.monotonic() + self._linger_s)
        return answers

    def _ask(self, peer: WitnessPeer, checkpoint: Checkpoint) -> _Answer:
        try:
            line = self._cosigned(peer, checkpoint)
            self._require_own(peer.member, line, checkpoint)
        except ShuiqiaoError as error:
            # Kept until the next checkpoint is cosigned.
            let_go_of_calls(error)
            return _Answer(member=peer.member, refusal=error)
        except Exception as error:  # noqa: BLE001 - a peer may break in any way: its cosignature is missing, no more
            return _Answer(
                member=peer.member,
                refusal=Unavailable("ledger.witness_away", f"asking {peer.member} broke down: {error!r}"),
            )
        return _Answer(member=peer.member, line=line)

    def _cosigned(self, peer: WitnessPeer, checkpoint: Checkpoint) -> bytes:
        refusal: Conflict | None = None
        for _ in range(_ATTEMPTS):
            size = peer.witnessed_size(checkpoint.origin)
            if size > checkpoint.size:
                raise Conflict(
                    "ledger.witness_ahead",
                    f"{peer.member} has cosigned {size} leaves already, this checkpoint has {checkpoint.size}",
                )
            proof = tuple(self._proofs(size, checkpoint.size)) if size else ()
            try:
                return peer.cosign(checkpoint.note, old_size=size, proof=proof)
            except Conflict as error:
                refusal = error
        assert refusal is not None
        raise refusal

    def _require_own(self, member: MemberId, data: bytes, checkpoint: Checkpoint) -> None:
        text = encode_text(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root)
        cosignature = verify_cosignature(decode_line(data), text=text, policy=self._policy, suite=self._suite)
        if cosignature.member != member:
            raise IntegrityError(
                "ledger.cosigner_unknown", f"{member} answered with the cosignature of {cosignature.member}"
            )

    def _away(self, member: MemberId) -> Unavailable:
        if member not in self._peers:
            return Unavailable("ledger.witness_away", f"no connection to the witness {member} is set up")
        return Unavailable(
            "ledger.witness_away", f"{member} has not answered within {self._timeout_s} s", retry_after_s=1.0
        )
