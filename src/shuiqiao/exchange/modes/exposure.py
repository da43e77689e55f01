"""The mode *exposure*: a bureau lets a bank ask other banks what they have lent, and gives it nothing else.

Rule: docs/spec/psi.md [PSI-5], [PSI-6]. The answer says only that it was allowed. So the use of such a consent is
asked, counted, charged, answered and shown to the enterprise as any other; other banks see on their own copy of the
ledger that it was answered. What they tell is between the banks (``lending.exposures``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.exchange.manifest import verify_computed
from shuiqiao.exchange.modes.port import Answer, AnswerMode, RecordSource
from shuiqiao.privacy.model import Revealed, millibits_of
from shuiqiao.standards.model import CORE_GROUP

if TYPE_CHECKING:
    from shuiqiao.base.ids import Uscc
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.changes import Leaves
    from shuiqiao.exchange.model import AnswerManifest, RequestMessage
    from shuiqiao.vault.model import BatchLookup, LeafLookup

EXPOSURE_BANDS: Final = 8
"""Bands of an amount; that a bank tells none is a ninth value."""

MAX_ASKED_BANKS: Final = 4
"""Banks that are asked under one answer."""

_ALLOWED: Final = encode_cbor({"banks": MAX_ASKED_BANKS})


class Exposure(AnswerMode):
    """That this bank may ask others about this taxpayer."""

    def __init__(self, *, suite: CipherSuite) -> None:
        self._suite = suite

    def verify_asked(self, message: RequestMessage) -> None:
        """Return if no record is asked for; raises InvalidInput ``exchange.exposure_items_wrong``."""
        if list(message.items.values()) != [[CORE_GROUP]]:
            raise InvalidInput(
                "exchange.exposure_items_wrong",
                f"in this mode a request names one record type with its group {CORE_GROUP}, and is given no record; "
                f"{message.items} is asked",
            )

    def reveals(self, message: RequestMessage) -> Revealed:
        """Return the bands that as many banks tell as may be asked."""
        del message
        return Revealed(millibits=MAX_ASKED_BANKS * millibits_of(EXPOSURE_BANDS + 1))

    def shown_millibits(self, content: bytes) -> None:
        """Show nothing."""
        del content

    def answer(self, message: RequestMessage, *, uscc: Uscc, source: RecordSource) -> Answer:
        """Return that it is allowed; nothing is read for it."""
        del message, uscc, source
        return Answer(content=lambda: _ALLOWED, counts={}, leaves={}, is_computed=True)

    def prove(
        self,
        content: bytes,
        *,
        message: RequestMessage,
        artefact: ConsentArtefact,
        manifest: AnswerManifest,
        batch_of: BatchLookup,
        status_of: LeafLookup | None,
        share: bytes | None,
    ) -> None:
        """Return if the bureau signed that it is allowed.

        Raises IntegrityError ``exchange.result_unsigned``, ``exchange.manifest_ambiguous``, ``exchange.output_wrong``.
        """
        del artefact, batch_of, status_of, share
        verify_computed(manifest, content, suite=self._suite)
        if content != _ALLOWED:
            raise IntegrityError("exchange.output_wrong", f"the answer to {message.name} says what none does")

    def leaves(self, content: bytes) -> Leaves:
        """Return none: no record is given."""
        del content
        return {}
