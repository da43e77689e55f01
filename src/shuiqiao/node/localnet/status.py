"""The status of one validator, with a code for each fault, and whether validators agree on what they signed.

CometBFT keeps a validator that came to another result from voting, so what it believes reaches nobody by itself. So
what each validator signed, its statement on its last checkpoint and the note of a quorum that it holds, is brought to
all others that run, with a proof where theirs is shorter. A validator that signed another root is named by those that
receive it; a validator that is alone with its root stops and says so [ABCI-22], [ABCI-23]. Nothing is judged here: each
node judges for itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, next_step_shape
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, read_checkpoint
from shuiqiao.ledger.engine.cometbft.consensus.application import LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import proof_beyond
from shuiqiao.node.localnet.process import RecordedProcess


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
    ledger: RecordedProcess,
    comet: RecordedProcess,
    ask: Callable[[], Mapping[str, Any]],
    look: Callable[[], CometStatus],
    votes_with: bytes | None,
) -> NodeStatus:
    """Look at a validator. ask: its ledger's control socket, look: at its CometBFT node; both may raise.

    votes_with: the raw key in CometBFT's home, None where it cannot be read.
    """
    trouble = [
        Trouble(code=code, message=f"{process.name} ended; last in its log: {process.last_words() or 'nothing'}")
        for process, code in ((ledger, "node.ledger_down"), (comet, "node.cometbft_down"))
        if process.is_expected and process.pid is None
    ]
    told: Mapping[str, Any] = {}
    node = _UNKNOWN
    try:
        told = ask() if ledger.pid is not None else {}
        node = look() if comet.pid is not None else _UNKNOWN
    except ShuiqiaoError as error:
        trouble.append(Trouble(code=error.code, message=error.message))
    note = told.get("note", {})
    return NodeStatus(
        node=member,
        running=ledger.pid is not None and comet.pid is not None,
        catching_up=node.is_catching_up,
        height=told.get("height", 0),
        blocks=told.get("blocks", 0),
        size=told.get("size", 0),
        root=told.get("root", ""),
        note_size=note.get("size", 0),
        cosigners=tuple(note.get("cosigners", ())),
        peers=node.peers,
        trouble=(*trouble, *_told_trouble(told, votes_with=votes_with)),
    )


def _told_trouble(told: Mapping[str, Any], *, votes_with: bytes | None) -> Iterator[Trouble]:
    named = told.get("validator_key")
    if named and (votes_with or b"").hex() != named:
        yield Trouble(
            code="node.validator_key_differs",
            message=f"the ledger names the validator key {named}, and this node votes with another: its votes do not "
            "count; shuiqiao network rotate-key goes on where it was interrupted",
        )
    for validator, reason in told.get("named", {}).items():
        yield Trouble(code="node.validator_named", message=f"{validator} contradicts this log: {reason}")
    for fault in told.get("faults", ()):
        yield Trouble(code="node.connection_fault", message=fault)


MAX_PROOF = 66
"""Hashes of the longest proof that a node is handed."""

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Put a question to a validator's ledger process; raises any ShuiqiaoError."""


def answer_comparison(application: LedgerApplication, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answer what ``compare`` asks of one node; None for another question.

    ``words``: what this node signed or holds signed, and how far it is. ``prove``: that a log of so many leaves, whose
    root is told, begins a note's. ``hear``: judge a note; a reason why this node stops is in the answer. Raises
    InvalidInput ``node.question_malformed``, ``ledger.size_unknown``.
    """
    match question.get("act"):
        case "words":
            head, _ = application.app_state.copy.view()
            return {"size": head.size, "notes": [_text(note) for note in _notes(application)]}
        case "prove":
            note = read_checkpoint(_bytes(question.get("note")))
            shown = proof_beyond(application.app_state.copy, size=_size(question.get("size")), note=note)
            return {"proof": [_text(item) for item in shown]}
        case "hear":
            proof = question.get("proof")
            if not isinstance(proof, list) or len(proof) > MAX_PROOF:
                raise _malformed("a proof")
            return _judged(application, _bytes(question.get("note")), proof=[_bytes(item) for item in proof])
        case _:
            return None


def _judged(application: LedgerApplication, note: bytes, *, proof: list[bytes]) -> dict[str, Any]:
    try:
        application.judge_note(note, proof=proof)
    except IntegrityError as error:
        return {"code": error.code, "message": error.message}
    return {"code": ""}


def _notes(application: LedgerApplication) -> Iterator[bytes]:
    try:
        statement = application.statement()
    except ShuiqiaoError:
        # Not confirmed yet, or stopped: what it signed before still counts.
        statement = b""
    if statement:
        yield statement
    confirmed = application.checkpoint()
    if confirmed is not None:
        yield confirmed.note


def compare(members: Iterable[str], *, ask: Ask) -> dict[str, Trouble]:
    """Bring every running validator's signed notes to every other; return why each one stopped that had to."""
    signed: dict[str, Mapping[str, Any]] = {}
    for member in members:
        try:
            signed[member] = ask(member, {"act": "words"})
        except ShuiqiaoError:
            # It is down, which its own status tells.
            continue
    found: dict[str, Trouble] = {}
    for sender, receiver in permutations(signed, 2):
        for note in signed[sender]["notes"]:
            trouble = _bring(note, sender=sender, receiver=receiver, size=signed[receiver]["size"], ask=ask)
            if trouble is not None:
                found[receiver] = trouble
    return found


def _bring(note: str, *, sender: str, receiver: str, size: int, ask: Ask) -> Trouble | None:
    try:
        is_longer = read_checkpoint(_bytes(note)).size > size > 0
        proof = ask(sender, {"act": "prove", "size": size, "note": note})["proof"] if is_longer else []
        found = ask(receiver, {"act": "hear", "note": note, "proof": proof})
    except ShuiqiaoError:
        # Away by now, or already further: the next comparison tells.
        return None
    return Trouble(code=found["code"], message=found["message"]) if found["code"] else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MAX_SIGNED_NOTE_BYTES:
        raise _malformed("bytes")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise _malformed("base64") from error


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed("a size")
    return value


def _malformed(what: str) -> InvalidInput:
    return InvalidInput("node.question_malformed", f"a comparison's question holds something that is not {what}")
