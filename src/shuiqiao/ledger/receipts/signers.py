"""Whether exactly those signed a receipt's transaction who had to: by the genesis and by what the receipt proves.

A key that stands in neither is not guessed: the result then says that signing is the word of those who signed the
checkpoint [LEDGER-RECEIPT-3]. A member's key in the genesis counts until the receipt proves that it was replaced, so an
operator that logs what nobody signed is found out. Who makes a receipt asks ``keys_to_prove`` what to put into it.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.state.machine import StateMachine, verify_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.ledger.model import StateView, Transaction


class SignerEvidence(StrEnum):
    """Where the keys came from that the transaction's signatures were checked with."""

    GENESIS = "genesis"
    """Every required key stands in the genesis or in the transaction itself: every signature was verified."""
    STATE = "state"
    """A required key stands in the state that the receipt proves: every signature was verified."""
    LEDGER = "ledger"
    """A required key stands where the receipt proves nothing, or was replaced since: no signature was verified."""


class _KnownState:
    """The state of the genesis under what a receipt proves, remembering what was asked of either."""

    def __init__(self, genesis: Mapping[str, Any], proven: Mapping[str, Any]) -> None:
        self._genesis = genesis
        self._proven = proven
        self.is_beyond = False
        self.is_newer = False
        """Whether something was asked for that the receipt proves and the genesis does not say."""

    def get(self, key: str) -> Any:
        """Return a value; what neither tells may exist by now, so absence is no answer."""
        if key in self._proven:
            value = self._proven[key]
            self.is_newer |= key not in self._genesis or self._genesis[key] != value
            return value
        if key not in self._genesis:
            self.is_beyond = True
            raise KeyError(key)
        return self._genesis[key]


def judge_signers(tx: Transaction, *, machine: StateMachine, proven: Mapping[str, Any]) -> SignerEvidence:
    """Verify the signatures whose keys are known, and say where from.

    proven: decoded values by state key, None for a key that is absent. Raises what ``plan_verification`` and
    ``verify_claims`` raise for signatures that are not those required.
    """
    state = _KnownState(machine.parameters.initial_state, proven)
    try:
        claims = machine.plan_verification(tx, state)
    except ShuiqiaoError:
        if not state.is_beyond and not state.is_newer:
            raise
        # A key nobody told of, or one that was replaced after it signed.
        return SignerEvidence.LEDGER
    verify_claims(claims, suite=machine.suite)
    return SignerEvidence.STATE if state.is_newer else SignerEvidence.GENESIS


class _Recorder:
    """A state that remembers what was asked for."""

    def __init__(self, state: StateView) -> None:
        self._state = state
        self.asked: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent."""
        self.asked[key] = self._state.get(key)
        return self.asked[key]


def keys_to_prove(tx: Transaction, *, machine: StateMachine, state: StateView) -> tuple[str, ...]:
    """Return the state keys without which a reader of the genesis could not tell who had to sign a transaction."""
    recorder = _Recorder(state)
    # Where the state has moved on since, what was asked for is all that can be shown.
    with suppress(ShuiqiaoError):
        machine.plan_verification(tx, recorder)
    genesis = machine.parameters.initial_state
    return tuple(sorted(key for key, value in recorder.asked.items() if genesis.get(key) != value))
