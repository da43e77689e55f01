"""Finds out who is wrong when validators sign different checkpoints: others are named, this node stops.

A cosignature that does not hold here names the validator that voted with it. Where so many do not hold that our own
checkpoint can no longer reach its quorum, it is this node that came to another result, and it must not go on [ABCI-22].

CometBFT itself keeps a validator with another application hash from voting, so what that one believes reaches nobody by
votes. It is asked for: its *statement* is its signed note of its last committed checkpoint, and the
validators that have the log compare. The same way a node that only catches up, and so meets no votes, learns that it is
the one [ABCI-23].
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.cosignature import verify_cosignature
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Tip, VoteExtensions
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.witness.fork_evidence import fork_kind

MAX_NAMED: Final = 64
"""Validators that contradicted this log are remembered, the newest of them."""

_RETRY_S: Final = 1.0


class Disagreement:
    """The validators that contradict this node's log; used under the application's lock."""

    def __init__(self, suite: CipherSuite) -> None:
        # Not a cache of cachetools: other threads copy it meanwhile, which is one act for a dictionary only.
        self.named: dict[str, str] = {}
        self._suite = suite
        self._text = b""
        self._against: set[MemberId] = set()

    def name(self, validator: str, reason: str) -> None:
        """Remember what a validator did wrong."""
        self.named.pop(validator, None)
        self.named[validator] = reason
        while len(self.named) > MAX_NAMED:
            del self.named[next(iter(self.named))]

    def judge_vote(
        self, error: ShuiqiaoError, *, voter: MemberId | None, words: str, tip: Tip
    ) -> IntegrityError | None:
        """Judge a vote whose extension does not hold. Return why this node must stop, None if the voter is named.

        words: how a voter is called that the state does not know. Only a cosignature in due form counts against us.
        """
        self.name(voter or words, f"{words}: {error}")
        if voter is None or error.code != "ledger.cosignature_invalid" or voter not in tip.policy.witnesses:
            return None
        if tip.text != self._text:
            self._text, self._against = tip.text, set()
        self._against.add(voter)
        if len(tip.policy.witnesses) - len(self._against) >= tip.policy.quorum:
            return None
        return self._diverged(tip, self._against)

    def _diverged(self, tip: Tip, against: Collection[MemberId]) -> IntegrityError:
        for member in against:
            self.named.pop(member, None)
        return IntegrityError(
            "ledger.state_diverged",
            f"{', '.join(sorted(against))} cosigned another checkpoint than this node's, which has {tip.size} leaves "
            f"and root {tip.root.hex()}: its ledger or its state is not theirs, so it signs nothing more",
            next_step="stop the node, look at its home with `shuiqiao doctor`, and restore its ledger from a backup "
            "or join again by state sync",
        )

    def judge_note(self, note: bytes, *, proof: Sequence[bytes], tip: Tip, copy: LedgerCopy) -> IntegrityError | None:
        """Compare what validators signed elsewhere with this log. Return why this node must stop, None if it need not.

        A validator that signed another root is named; if the quorum did, this node is wrong. proof: for a note of more
        leaves than ours, what ``proof_beyond`` of its log gives. Without it nothing can be said of that, nor by a proof
        that does not lead to the note's root. Raises IntegrityError for what no validator of this log signed.
        """
        parts = decode_signed_note(note)
        policy = copy.epochs.trail.policy_at(parts.head.size)
        if parts.head.origin != policy.origin:
            raise IntegrityError(
                "ledger.checkpoint_foreign", f"a note of {parts.head.origin[:100]!r}, not of {policy.origin!r}"
            )
        signers = {
            verify_cosignature(line, text=parts.text, policy=policy, suite=self._suite).member for line in parts.lines
        }
        own_size = min(parts.head.size, tip.size)
        own = Checkpoint(origin=policy.origin, size=own_size, root=copy.root_at(own_size), note=b"")
        told = Checkpoint(origin=policy.origin, size=parts.head.size, root=parts.head.root, note=note)
        if fork_kind(own, told, proof=proof, hash_name=self._suite.hash_name) is None:
            return None
        if len(signers) >= policy.quorum:
            return self._diverged(tip, signers)
        for signer in sorted(signers):
            self.name(signer, f"signed root {told.root.hex()} at {told.size} leaves, which is not this log's")
        return None


def proof_beyond(copy: LedgerCopy, *, size: int, new_size: int) -> tuple[bytes, ...]:
    """Return what shows, with a note of this log of more leaves, which root its first leaves have (``fork_evidence``).

    Raises InvalidInput ``ledger.size_unknown`` beyond this log.
    """
    path = copy.consistency_proof(old_size=size, new_size=new_size)
    return (copy.root_at(size), *path) if path and size.bit_count() == 1 else path


def own_statement(extensions: VoteExtensions, *, tip: Tip) -> bytes:
    """Return this validator's statement on its last committed checkpoint, empty where it has no vote.

    It is signed only once the others confirmed that checkpoint: a node that diverged and was not told so yet signs
    nothing [ABCI-23]. Raises Unavailable ``ledger.statement_pending``.
    """
    note = extensions.note()
    if note is None or (note.size, note.root) != (tip.size, tip.root):
        raise Unavailable(
            "ledger.statement_pending",
            f"the validators' quorum has not confirmed the checkpoint of {tip.size} leaves yet",
            retry_after_s=_RETRY_S,
        )
    line = extensions.own_extension()
    return tip.text + b"\n" + line if line else b""
