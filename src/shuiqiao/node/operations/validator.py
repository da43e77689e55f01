"""What a running validator tells of itself, and judges of what others signed: for ``client.resources.validator``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.client.resources.validator import (
    BeginningProof,
    Judgement,
    NodeTrouble,
    SignedNotes,
    ValidatorStanding,
)
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import proof_beyond
from shuiqiao.members.roster import validator_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shuiqiao.ledger.engine.cometbft.consensus.application import LedgerApplication
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.validator import ValidatorNode

MAX_FAULTS_TOLD: Final = 5
_MAX_WORDS: Final = 10_000


def standing_of(institution: Institution, node: ValidatorNode) -> ValidatorStanding:
    """Return where a validator stands, and what it holds against others."""
    application = node.ledger.application
    head, _ = application.app_state.copy.view()
    note = application.checkpoint()
    ended = node.trouble
    return ValidatorStanding(
        member=institution.member,
        height=application.app_state.height,
        blocks=head.height,
        size=head.size,
        root=head.root.hex(),
        note_size=0 if note is None else note.size,
        cosigners=() if note is None else _cosigners(note, origin=institution.parameters.origin),
        validator_key=(validator_of(application.view(), institution.member) or b"").hex(),
        # A copy first, which is one act: the node goes on naming meanwhile.
        named={name: words[:_MAX_WORDS] for name, words in dict(application.named).items()},
        faults=tuple(f"{fault.code}: {fault.message}"[:_MAX_WORDS] for fault in node.ledger.faults[-MAX_FAULTS_TOLD:]),
        is_node_running=node.is_running,
        node_ended=None if ended is None else _trouble(ended),
        notes=tuple(each.hex() for each in _signed(application)),
    )


def _cosigners(note: Checkpoint, *, origin: str) -> tuple[str, ...]:
    return tuple(sorted(line.name.removeprefix(f"{origin}/") for line in decode_signed_note(note.note).lines))


def _trouble(error: ShuiqiaoError) -> NodeTrouble:
    return NodeTrouble(code=error.code, message=error.message[:_MAX_WORDS])


def _signed(application: LedgerApplication) -> Iterator[bytes]:
    """Return what a validator signed of its last checkpoint, and the note of a quorum that it holds."""
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


def prove_beginning(application: LedgerApplication, *, size: int, new_size: int) -> BeginningProof:
    """Prove which root the first leaves of a log have; raises InvalidInput ``ledger.size_unknown``."""
    shown = proof_beyond(application.app_state.copy, size=size, new_size=new_size)
    return BeginningProof(hashes=tuple(each.hex() for each in shown))


def judge_notes(application: LedgerApplication, shown: SignedNotes) -> Judgement:
    """Hold what others signed against this log; who signed another root is named, or this validator stops."""
    trouble: NodeTrouble | None = None
    for each in shown.notes:
        try:
            application.judge_note(bytes.fromhex(each.note), proof=[bytes.fromhex(step) for step in each.proof])
        except IntegrityError as error:
            trouble = _trouble(error)
        except ShuiqiaoError:
            # What is no note, or of a log that is further by now: nothing can be said of it.
            continue
    return Judgement(trouble=trouble)
