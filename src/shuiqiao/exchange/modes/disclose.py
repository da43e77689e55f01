"""The mode *disclose*: the granted groups of each record, with the proof that it is a leaf of an anchored batch.

Rule: docs/spec/consent-exchange.md [EXCHANGE-12] to [EXCHANGE-14]. The recipient believes nothing until every record
was proven, accepts nothing beyond what it asked for, and sees what is missing of what the manifest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError
from shuiqiao.exchange.changes import leaves_of
from shuiqiao.exchange.manifest import first_out_of_scope, inventories_of, verify_complete
from shuiqiao.exchange.modes.port import Answer, AnswerMode, RecordSource
from shuiqiao.privacy.model import MILLI, Revealed
from shuiqiao.vault.disclosure import decode_disclosure, encode_disclosure, verify_disclosure

if TYPE_CHECKING:
    from shuiqiao.base.ids import Uscc
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.changes import Leaves
    from shuiqiao.exchange.model import AnswerManifest, RequestMessage
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.disclosure import DisclosedRecords, Disclosure
    from shuiqiao.vault.model import BatchLookup, LeafLookup


class Disclose(AnswerMode):
    """Records in the clear, each with its proof."""

    def __init__(self, *, suite: CipherSuite, catalogue: Catalogue) -> None:
        self._suite = suite
        self._catalogue = catalogue

    def verify_asked(self, message: RequestMessage) -> None:
        """Everything that a consent grants can be disclosed."""

    def answer(self, message: RequestMessage, *, uscc: Uscc, source: RecordSource) -> Answer:
        """Return every live record of the types and period asked for, in the groups asked for."""
        disclosure = source.disclose(
            uscc=uscc, groups=message.items, period_from=message.period_from, period_to=message.period_to
        )
        return Answer(
            content=lambda: encode_disclosure(disclosure),
            counts={entry.standard: entry.rows.num_rows for entry in disclosure.types},
            leaves=leaves_of(disclosure),
            shown_millibits=_millibits(disclosure),
        )

    def reveals(self, message: RequestMessage) -> Revealed:
        """Return every field of the groups asked for."""
        kinds = [(self._catalogue.get(type_id), groups) for type_id, groups in message.items.items()]
        shown = [(kind, kind.group(group)) for kind, groups in kinds for group in groups]
        return Revealed(fields=frozenset(f"{kind.id}.{field}" for kind, group in shown for field in group.fields))

    def shown_millibits(self, content: bytes) -> int:
        """Return how much is in the records."""
        return _millibits(decode_disclosure(content, catalogue=self._catalogue))

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
    ) -> DisclosedRecords:
        """Return the records: each a leaf of a batch that the provider anchored, and all that the manifest counts."""
        del share  # It is computed by nobody.
        disclosure = decode_disclosure(content, catalogue=self._catalogue)
        _expect_groups(disclosure, message)
        if disclosure.uscc != artefact.taxpayer:
            raise IntegrityError("exchange.taxpayer_wrong", "the answer is about another taxpayer than the consent")
        records = verify_disclosure(
            disclosure, batch_of=batch_of, suite=self._suite, catalogue=self._catalogue, status_of=status_of
        )
        self._expect_period(disclosure, message)
        verify_complete(manifest, inventories_of(disclosure, catalogue=self._catalogue), suite=self._suite)
        return records

    def leaves(self, content: bytes) -> Leaves:
        """Return the places of the records disclosed."""
        return leaves_of(decode_disclosure(content, catalogue=self._catalogue))

    def _expect_period(self, disclosure: Disclosure, message: RequestMessage) -> None:
        """[EXCHANGE-14]: nothing from outside the period asked for."""
        for entry in disclosure.types:
            outside = first_out_of_scope(
                entry.rows,
                self._catalogue.get(entry.standard),
                period_from=message.period_from,
                period_to=message.period_to,
            )
            if outside is not None:
                raise IntegrityError(
                    "exchange.period_not_granted",
                    f"a record of {entry.standard} is of {outside}; "
                    f"{message.period_from} to {message.period_to} was asked for",
                )


def _millibits(disclosure: Disclosure) -> int:
    """Return the size of all values: text by its bytes, others by the width of their column; what is null has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bits = 0
    for column in (column for entry in disclosure.types for column in entry.rows.columns):
        if pa.types.is_string(column.type):
            bits += 8 * (pc.call_function("sum", [pc.call_function("binary_length", [column])]).as_py() or 0)
        else:
            bits += column.type.bit_width * (len(column) - column.null_count)
    return bits * MILLI


def _expect_groups(disclosure: Disclosure, message: RequestMessage) -> None:
    """[EXCHANGE-13]: exactly what was asked for, no group more and none less."""
    for entry in disclosure.types:
        asked = message.items.get(entry.standard, [])
        beyond = sorted(set(entry.groups) - set(asked))
        if beyond:
            raise IntegrityError(
                "exchange.group_not_granted",
                f"the answer holds {', '.join(beyond)} of {entry.standard}, which was not asked for",
            )
        if len(entry.groups) != len(asked):
            raise IntegrityError(
                "exchange.group_missing", f"the answer holds {entry.groups} of {entry.standard}, asked were {asked}"
            )
