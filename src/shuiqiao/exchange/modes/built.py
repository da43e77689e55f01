"""The modes that are built: where a new one is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.consent.model import Mode
from shuiqiao.exchange.modes.disclose import Disclose
from shuiqiao.exchange.modes.exposure import Exposure
from shuiqiao.exchange.modes.score import Score, Scoring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.modes.port import AnswerMode
    from shuiqiao.standards.model import Catalogue


def answer_modes(
    *, suite: CipherSuite, catalogue: Catalogue, scoring: Scoring | None = None
) -> Mapping[Mode, AnswerMode]:
    """Return every mode by its name; the same at both ends of a request.

    scoring: the models and what runs them, None where nothing is scored.
    """
    modes: dict[Mode, AnswerMode] = {
        Mode.DISCLOSE: Disclose(suite=suite, catalogue=catalogue),
        Mode.EXPOSURE: Exposure(suite=suite),
    }
    if scoring is not None:
        modes[Mode.SCORE] = Score(scoring, suite=suite, catalogue=catalogue)
    return modes
