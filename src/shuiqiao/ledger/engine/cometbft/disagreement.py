"""When a checkpoint of another validator is not ours: it is wrong and named, or this node is and stops.

A cosignature that does not hold here names the validator that voted with it. Where so many do not hold that our own
checkpoint can no longer reach its quorum, it is this node that came to another result, and it must not go on [ABCI-22].

CometBFT itself keeps a validator with another application hash from voting, so what that one believes reaches nobody by
votes. It is asked for: a *statement* is its signed word on its last committed checkpoint, and whoever has the log
compares [ABCI-23].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.cosignature import verify_cosignature
from shuiqiao.ledger.engine.cometbft.extensions import CosignatureDesk, Tip
from shuiqiao.ledger.signed_note import decode_signed_note

MAX_NAMED: Final = 64
"""Validators that contradicted this log are remembered, the newest of them."""

_RETRY_S: Final = 1.0


class Disagreement:
    """Who contradicts this node's log; used under the application's lock."""

    def __init__(self, suite: CipherSuite) -> None:
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

    def hear_vote(self, error: ShuiqiaoError, *, voter: MemberId | None, words: str, tip: Tip) -> IntegrityError | None:
        """Take in that a vote's extension does not hold. Return why this node must stop, None if the voter is named.

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
        return self._diverged(tip)

    def _diverged(self, tip: Tip) -> IntegrityError:
        against = ", ".join(sorted(self._against))
        for member in self._against:
            self.named.pop(member, None)
        return IntegrityError(
            "ledger.state_diverged",
            f"{against} cosigned another checkpoint than this node's, which has {tip.size} leaves and root "
            f"{tip.root.hex()}: its ledger or its state is not theirs, so it signs nothing more",
            next_step="stop the node, look at its home with `shuiqiao doctor`, and restore its ledger from a backup "
            "or join again by state sync",
        )

    def hear_statement(self, statement: bytes, *, tip: Tip, root_at: Callable[[int], bytes]) -> bool:
        """Compare a validator's statement with this log, and name who signed another root; False if ours is shorter.

        Raises IntegrityError for bytes that are not one validator's statement on this log [ABCI-23].
        """
        parts = decode_signed_note(statement)
        if len(parts.lines) != 1 or parts.head.origin != tip.policy.origin:
            raise IntegrityError(
                "ledger.statement_malformed",
                f"a statement on {parts.head.origin[:100]!r} with {len(parts.lines)} signatures is not one validator's "
                f"on {tip.policy.origin}",
            )
        signer = verify_cosignature(parts.lines[0], text=parts.text, policy=tip.policy, suite=self._suite).member
        if parts.head.size > tip.size:
            return False
        root = root_at(parts.head.size)
        if root != parts.head.root:
            self.name(
                signer,
                f"signed root {parts.head.root.hex()} at {parts.head.size} leaves, where the log has {root.hex()}",
            )
        return True


def own_statement(desk: CosignatureDesk, *, tip: Tip) -> bytes:
    """Return this validator's statement on its last committed checkpoint, empty where it has no vote.

    It is signed only once the others confirmed that checkpoint: a node that diverged and was not told so yet signs
    nothing [ABCI-23]. Raises Unavailable ``ledger.statement_pending``.
    """
    note = desk.note()
    if note is None or (note.size, note.root) != (tip.size, tip.root):
        raise Unavailable(
            "ledger.statement_pending",
            f"the validators' quorum has not confirmed the checkpoint of {tip.size} leaves yet",
            retry_after_s=_RETRY_S,
        )
    line = desk.own_extension()
    return tip.text + b"\n" + line if line else b""
