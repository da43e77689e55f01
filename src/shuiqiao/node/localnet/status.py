"""The status of one validator, with a code for each fault, and whether validators agree on what they signed.

CometBFT keeps a validator that came to another result from voting, so what it believes reaches nobody by itself. So
what each validator signed, its statement on its last checkpoint and the note of a quorum that it holds, is brought to
all others that run, with a proof where theirs is shorter. A validator that signed another root is named by those that
receive it; a validator that is alone with its root stops and says so [ABCI-22], [ABCI-23]. Nothing is judged here: each
node judges for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import ShuiqiaoError, next_step_shape
from shuiqiao.client.resources.validator import (
    JUDGE_NOTES,
    MAX_NOTES,
    PROOF,
    BeginningProof,
    SignedNote,
    SignedNotes,
    ValidatorStanding,
)
from shuiqiao.ledger.checkpoints.signed_note import read_checkpoint

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient
    from shuiqiao.node.localnet.server_process import ServerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong with a node."""

    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON object, with what to do next."""
        return asdict(self) | next_step_shape(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class CometStatus:
    """What a CometBFT node says of itself. peers: nodes it is connected to."""

    peers: int
    is_catching_up: bool


_UNKNOWN = CometStatus(peers=0, is_catching_up=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One validator now. height: CometBFT's. blocks, size, root (hex): of our ledger; empty while it does not answer.

    note_size, cosigners: the newest checkpoint that has its quorum. catching_up: it takes in no transactions yet.
    """

    node: str
    running: bool
    catching_up: bool = False
    height: int = 0
    blocks: int = 0
    size: int = 0
    root: str = ""
    note_size: int = 0
    cosigners: tuple[str, ...] = ()
    peers: int = 0
    trouble: tuple[Trouble, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self) | {"trouble": [trouble.as_json() for trouble in self.trouble]}


def node_status(
    member: str,
    *,
    server: ServerProcess,
    ask: Callable[[], ValidatorStanding],
    look: Callable[[], CometStatus],
    votes_with: bytes | None,
) -> NodeStatus:
    """Look at a validator. ask: its server, look: at its CometBFT node; both may raise.

    votes_with: the raw key in CometBFT's home, None where it cannot be read.
    """
    if server.pid is None:
        return NodeStatus(node=member, running=False, trouble=tuple(_ended(member, server)))
    try:
        told = ask()
    except ShuiqiaoError as error:
        return NodeStatus(node=member, running=False, trouble=(Trouble(code=error.code, message=error.message),))
    trouble = [*_told_trouble(told, votes_with=votes_with)]
    node = _UNKNOWN
    if told.is_node_running:
        try:
            node = look()
        except ShuiqiaoError as error:
            trouble.append(Trouble(code=error.code, message=error.message))
    return NodeStatus(
        node=member,
        running=told.is_node_running,
        catching_up=node.is_catching_up,
        height=told.height,
        blocks=told.blocks,
        size=told.size,
        root=told.root,
        note_size=told.note_size,
        cosigners=told.cosigners,
        peers=node.peers,
        trouble=tuple(trouble),
    )


def _ended(member: str, server: ServerProcess) -> Iterator[Trouble]:
    if server.is_expected:
        words = server.last_words() or "nothing"
        yield Trouble(code="node.ledger_down", message=f"the server of {member} ended; its last words: {words}")


def _told_trouble(told: ValidatorStanding, *, votes_with: bytes | None) -> Iterator[Trouble]:
    if not told.is_node_running:
        why = "it does not answer" if told.node_ended is None else told.node_ended.message
        yield Trouble(code="node.cometbft_down", message=f"the CometBFT node of {told.member} does not run: {why}")
    if told.validator_key and (votes_with or b"").hex() != told.validator_key:
        yield Trouble(
            code="node.validator_key_differs",
            message=f"the ledger names the validator key {told.validator_key}, and this node votes with another: its "
            "votes do not count; shuiqiao network rotate-key goes on where it was interrupted",
        )
    for validator, reason in told.named.items():
        yield Trouble(code="node.validator_named", message=f"{validator} contradicts this log: {reason}")
    for fault in told.faults:
        yield Trouble(code="node.connection_fault", message=fault)


def compare(clients: Mapping[str, HttpClient], *, standings: Mapping[str, ValidatorStanding]) -> dict[str, Trouble]:
    """Bring every running validator's signed notes to every other; return why each one stopped that had to."""
    found: dict[str, Trouble] = {}
    for receiver, standing in standings.items():
        notes = [
            note
            for sender, other in standings.items()
            if sender != receiver
            for note in _shown(other, client=clients[sender], size=standing.size)
        ]
        if not notes:
            continue
        try:
            judged = clients[receiver].perform(JUDGE_NOTES, SignedNotes(notes=tuple(notes[:MAX_NOTES])))
        except ShuiqiaoError:
            # It went away meanwhile: the next comparison tells.
            continue
        if judged.trouble is not None:
            found[receiver] = Trouble(code=judged.trouble.code, message=judged.trouble.message)
    return found


def _shown(sender: ValidatorStanding, *, client: HttpClient, size: int) -> Iterator[SignedNote]:
    """Return what a validator signed, each with the proof that leads to it from a log of so many leaves."""
    for note in sender.notes:
        try:
            told = read_checkpoint(bytes.fromhex(note)).size
            proof: tuple[str, ...] = ()
            if told > size > 0:
                parameters = {"size": size, "new_size": told}
                proof = client.get(PROOF, parameters=parameters).read_as(BeginningProof).hashes
            yield SignedNote(note=note, proof=proof)
        except ShuiqiaoError:
            # It went away by now: the next comparison tells.
            continue
