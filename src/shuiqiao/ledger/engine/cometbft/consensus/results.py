"""How errors of ours read in CometBFT's terms: a number by who must act, and our own code beside it.

The number is part of the header's results hash, so it follows from the error's class alone [ABCI-12]; the code stands
in ``codespace`` and the words in ``log``, which are not part of any hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.cometbft.abci.parts import CODE_OK, TxResult
from shuiqiao.ledger.engine.cometbft.abci.responses import ResponseCheckTx
from shuiqiao.ledger.state.machine import Outcome

RETRY_LATER: Final = 32_000
"""CometBFT tries transactions with this code and above again."""

MAX_LOG: Final = 500
"""Characters of an error's words that are passed on."""

_NUMBERS: Final[dict[type[ShuiqiaoError], int]] = {
    InvalidInput: 1,
    Denied: 2,
    Conflict: 3,
    IntegrityError: 4,
    Unavailable: RETRY_LATER,
}


def number_of(error: ShuiqiaoError) -> int:
    """Return CometBFT's number for an error."""
    return next(number for sort, number in _NUMBERS.items() if isinstance(error, sort))


def result_of(refusals: Sequence[ShuiqiaoError | None]) -> TxResult:
    """Return what a block says of a transaction, or of a bundle by those of its transactions [ABCI-12] [ABCI-25].

    refusals: what refuses each of them, None for an accepted one. A bundle has the result of the first refused one.
    """
    refusal = next((each for each in refusals if each is not None), None)
    if refusal is None:
        return TxResult(code=CODE_OK)
    return TxResult(code=number_of(refusal), log=refusal.message[:MAX_LOG], codespace=refusal.code)


def check_of(refusal: ShuiqiaoError | None) -> ResponseCheckTx:
    """Return what CheckTx says of a transaction, None for one that may wait."""
    if refusal is None:
        return ResponseCheckTx(code=CODE_OK)
    return ResponseCheckTx(code=number_of(refusal), log=refusal.message[:MAX_LOG], codespace=refusal.code)


def refusal_in(outcome: Outcome | ShuiqiaoError) -> ShuiqiaoError | None:
    """Return what refused a transaction of a block, None for one that was accepted."""
    return outcome.refusal if isinstance(outcome, Outcome) else outcome
