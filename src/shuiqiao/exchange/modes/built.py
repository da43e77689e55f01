"""The modes that are built: where a new one is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.consent.model import Mode
from shuiqiao.exchange.modes.disclose import Disclose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.modes.port import AnswerMode
    from shuiqiao.standards.model import Catalogue


def answer_modes(*, suite: CipherSuite, catalogue: Catalogue) -> Mapping[Mode, AnswerMode]:
    """Return every mode by its name; the same at both ends of a request."""
    return {Mode.DISCLOSE: Disclose(suite=suite, catalogue=catalogue)}
