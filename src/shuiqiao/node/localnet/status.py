"""How one validator is: what its two processes say, and what is wrong, each with a code that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shuiqiao.base.errors import ShuiqiaoError, next_step_shape
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
class CometStanding:
    """What a CometBFT node says of itself. peers: nodes it is connected to."""

    peers: int
    is_catching_up: bool


_UNKNOWN = CometStanding(peers=0, is_catching_up=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStanding:
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


def standing_of(
    member: str,
    *,
    ledger: RecordedProcess,
    comet: RecordedProcess,
    ask: Callable[[], Mapping[str, Any]],
    look: Callable[[], CometStanding],
    votes_with: bytes | None,
) -> NodeStanding:
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
    return NodeStanding(
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
