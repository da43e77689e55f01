"""Acts on single records of a bureau's vault, and on what the ledger refused."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Hex, Id, Name, Wire, example

MAX_LEAVES: Final = 65_536
"""As many records as a batch may hold."""

MAX_VALUES: Final = 100
"""Most fields of one search."""

MAX_EVIDENCE_DIGITS: Final = 8 * 1024 * 1024
"""Of the longest file that proves a record, in hex."""

ExportReason = Literal["taxpayer_request", "dispute", "legal_order", "audit"]
"""As ``standards.sensitivity.ExportReason``: why a field above the level that is open is to be shown."""

ShortText = Annotated[str, Field(max_length=1_000)]
Leaf = Annotated[int, Field(ge=0, lt=MAX_LEAVES)]


class RecordErasure(Wire):
    """Records to destroy for good, by their leaves in a batch."""

    model_config = example(batch="5e" * 16, leaves=[0, 3], reason="taxpayer_request")

    batch: Id
    leaves: Annotated[tuple[Leaf, ...], Field(min_length=1, max_length=MAX_LEAVES)]
    reason: Literal["data_life_over", "retention_over", "taxpayer_request", "legal_order"]


class ErasedRecords(Wire):
    """Records that were destroyed, as the ledger says."""

    model_config = example(batch="5e" * 16, erased=[0, 3], reason="taxpayer_request")

    batch: Id
    erased: tuple[int, ...]
    reason: Name


class RecordSearch(Wire):
    """What to look for among a bureau's records; what is left out fits any."""

    model_config = example(taxpayer="91440300MA5LEAKME7", record_type="invoice_issued", number=None, values={})

    taxpayer: ShortText | None = None
    record_type: Name | None = None
    number: ShortText | None = None
    """A number in the natural key, e.g. of an invoice."""
    values: Annotated[dict[str, str], Field(max_length=MAX_VALUES, default_factory=dict)]
    """Canonical text by field name."""
    reason: ExportReason | None = None
    """Why fields above the open level of sensitivity are shown or looked for; it stands in the journal."""


_VERSION = {
    "type": "invoice_issued@2",
    "key": {"invoice_no": "24990000000000000000"},
    "day": "2026-03-01",
    "status": "live",
    "version": 1,
    "versions": 1,
    "batch": "5e" * 16,
    "leaf": 3,
    "anchor": 12,
    "file": "march.csv",
    "row": 17,
}


class RecordVersion(Wire):
    """One version of a record and its place. anchor: log index of its batch's anchor, none if it is not known."""

    model_config = example(**_VERSION)

    type: Name
    key: dict[str, int | str | None]
    day: Name
    status: Name
    version: int
    versions: int
    batch: Hex
    leaf: int
    anchor: int | None
    file: str
    row: int


class FoundRecords(Wire):
    """Every version of the records that fit, by type and taxpayer, the oldest version first."""

    model_config = example(records=[_VERSION])

    records: tuple[RecordVersion, ...]


class RecordChoice(Wire):
    """Names a record by its leaf in a batch, and the disclosure groups of it to show."""

    model_config = example(batch="5e" * 16, leaf=3, groups=["core"])

    batch: Id
    leaf: Leaf
    groups: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_VALUES)] = ("core",)
    reason: ExportReason | None = None
    """Why fields above the open level of sensitivity are shown; it stands in the journal."""


class RecordEvidence(Wire):
    """A file that proves one record to a reader with the genesis."""

    model_config = example(evidence="a2646b696e64")

    evidence: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$", max_length=MAX_EVIDENCE_DIGITS)]


_CHANGED = {
    "taxpayer": "91440300MA5LEAKME7",
    "other": "first-bank",
    "request": "7a" * 16,
    "type": "invoice_issued@2",
    "batch": "5e" * 16,
    "leaf": 3,
    "status": "superseded",
}


class ChangedRecord(Wire):
    """A record that an answer held and that is not live any more. other: the member at the other side of the answer."""

    model_config = example(**_CHANGED)

    taxpayer: Name
    other: Name
    request: Id
    type: Name
    batch: Id
    leaf: Leaf
    status: Name


class ChangedPage(Page[ChangedRecord]):
    """Records given to banks, or received by this bank, that were amended or erased since."""

    model_config = example(items=[_CHANGED], next=None)


class PendingChoice(Wire):
    """Which refused work to decide on: the beginning of exactly one id."""

    model_config = example(work="5e5e5e5e")

    work: Annotated[str, Field(max_length=200)]


class DecidedWork(Wire):
    """Work that was decided on. code, reason: why it had been refused; code is empty if it settled itself."""

    model_config = example(id="5e" * 16, kind="batch", code="members.suspended", reason="the bureau was suspended")

    id: Name
    kind: Name
    code: Name
    reason: str


_WORK = {"id": "5e" * 16, "kind": "batch", "code": "members.suspended", "reason": "the bureau was suspended"}


class PendingRecord(DecidedWork):
    """Work that is not known to be on the ledger.

    code, reason: why it was refused. While it is under way code is empty, and reason what this member waits for.
    """

    model_config = example(**_WORK, is_settled=False)

    is_settled: bool
    """Whether the ledger has the same by another transaction: then nothing is left to decide."""


class PendingPage(Page[PendingRecord]):
    """What waits, oldest deadline first."""

    model_config = example(items=[{**_WORK, "is_settled": False}], next=None)


def _searched(asked: RecordSearch) -> str:
    """Return whose records are looked for, else by which number; and why, where that is said."""
    why = "" if asked.reason is None else f"/{asked.reason}"
    for noun, named in (("taxpayer", asked.taxpayer), ("number", asked.number)):
        if named is not None:
            return f"{noun}/{named}{why}"
    return why and f"values{why}"


def _proven(chosen: RecordChoice) -> str:
    return f"record/{chosen.batch}/{chosen.leaf}" + ("" if chosen.reason is None else f"/{chosen.reason}")


SEARCH_RECORDS: Final = Operation(
    path="/records/searches",
    sent=RecordSearch,
    told=FoundRecords,
    act="records.search",
    subject=_searched,
    shows_taxpayer=True,
)
PROVE_RECORD: Final = Operation(
    path="/records/proofs",
    sent=RecordChoice,
    told=RecordEvidence,
    act="records.prove",
    subject=_proven,
    shows_taxpayer=True,
)
LIST_CHANGED: Final = Operation(
    method="GET", path="/records/changed", sent=PageQuery, told=ChangedPage, act="records.changed", shows_taxpayer=True
)
ERASE_RECORDS: Final = Operation(
    path="/records/erasures",
    sent=RecordErasure,
    told=ErasedRecords,
    act="records.erase",
    subject=lambda asked: f"batch/{asked.batch}",
)
LIST_PENDING: Final = Operation(method="GET", path="/pending", sent=PageQuery, told=PendingPage)
REDO_PENDING: Final = Operation(path="/pending/redos", sent=PendingChoice, told=DecidedWork, act="pending.redo")
ABANDON_PENDING: Final = Operation(
    path="/pending/abandonments", sent=PendingChoice, told=DecidedWork, act="pending.abandon"
)
