"""What the owner of a validator's home asks its server: where it stands and what it signed.

Validators that came to different results do not reach each other by votes. What each signed is brought to the others,
with a proof where theirs is shorter, and each judges for itself [ABCI-22], [ABCI-23].
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Count, Hex, Name, Wire, example

HOME_PREFIX: Final = "/home"
STANDING: Final = f"{HOME_PREFIX}/validator"
PROOF: Final = f"{HOME_PREFIX}/validator/proof"

MAX_NOTES: Final = 64
"""Signed notes that are judged at one time: two of each other validator of a large consortium."""

MAX_PROOF: Final = 66
"""Hashes of the longest proof that a node is handed."""

Words = Annotated[str, Field(max_length=10_000)]


class NodeTrouble(Wire):
    """Something that is wrong with a validator."""

    model_config = example(code="ledger.node_ended", message="the node over net/homes/bank ended with code 1")

    code: Name
    message: Words


class ValidatorStanding(Wire):
    """Where a validator stands. height: CometBFT's; blocks, size, root: of its own copy of the ledger.

    note_size, cosigners: the newest checkpoint that has its quorum. validator_key: that the ledger names for it, empty
    where it names none. named: validators that contradict this log, and how. faults: connections to the ledger that
    were ended. node_ended: why the CometBFT node does not run. notes: what it signed, and what a quorum signed.
    """

    model_config = example(
        member="first-bank",
        height=120,
        blocks=42,
        size=130,
        root="8f" * 32,
        note_size=130,
        cosigners=["first-bank", "regulator", "tax-bureau"],
        validator_key="5c" * 32,
        named={},
        faults=[],
        is_node_running=True,
        node_ended=None,
        notes=[],
    )

    member: Name
    height: Count
    blocks: Count
    size: Count
    root: Hex
    note_size: Count
    cosigners: tuple[Name, ...]
    validator_key: Hex
    named: dict[Name, Words]
    faults: tuple[Words, ...]
    is_node_running: bool
    node_ended: NodeTrouble | None
    notes: tuple[Hex, ...]


class BeginningProof(Wire):
    """What shows which root the first leaves of a longer log have."""

    model_config = example(hashes=["8f" * 32])

    hashes: tuple[Hex, ...]


class SignedNote(Wire):
    """A note that another validator signed, and the proof that leads from this one's log to it where that is longer."""

    model_config = example(note="73687569", proof=[])

    note: Hex
    proof: Annotated[tuple[Hex, ...], Field(max_length=MAX_PROOF)]


class SignedNotes(Wire):
    """Notes to be judged."""

    model_config = example(notes=[{"note": "73687569", "proof": []}])

    notes: Annotated[tuple[SignedNote, ...], Field(max_length=MAX_NOTES)]


class Judgement(Wire):
    """Why this validator does not go on after what it was shown, None where it does."""

    model_config = example(trouble=None)

    trouble: NodeTrouble | None


JUDGE_NOTES: Final = Operation(prefix=HOME_PREFIX, path="/validator/notes", sent=SignedNotes, told=Judgement)
