"""The ledger: entries, blocks, checkpoints, state and proofs."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Download, Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Id, Name, TimeMs, Wire, example

_ENTRY = {
    "index": 12,
    "height": 5,
    "time_ms": 1_767_225_600_000,
    "kind": "anchor.commit",
    "author": "tax-bureau",
    "id": "4f" * 16,
}


class EntrySummary(Wire):
    """One transaction of the log: where it stands, when, what it is and whose."""

    model_config = example(**_ENTRY)

    index: Count
    """Leaf index in the log."""
    height: Count
    time_ms: TimeMs
    """Of its block."""
    kind: Name
    author: Name
    id: Id
    receipt: Hex | None = None
    """Where proofs were asked for."""


class EntryPage(Page[EntrySummary]):
    """Entries in the order of the log. A page may be empty and name a next one: so far nothing fitted."""

    model_config = example(items=[_ENTRY], next="13")


Kind = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}\.[a-z_]{1,40}$")]


class EntryQuestion(PageQuery):
    """Asks for entries from a leaf index on, which is the cursor."""

    model_config = example(limit=100, cursor="12", kind="anchor.commit", author=None, proof=False)

    cursor: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,15})$")] | None = None
    kind: Kind | None = None
    """Of this kind alone."""
    author: Name | None = None
    """Of this author alone."""
    proof: bool = False
    """With the receipt of each."""


class ReceiptQuestion(Wire):
    """Asks for the receipt of the transaction at a leaf. state_key: whose values the receipt proves, too."""

    model_config = example(index=12, state_key=["members/epoch"])

    index: Count
    state_key: tuple[Annotated[str, Field(max_length=1_000)], ...] = ()


class Entry(EntrySummary):
    """One transaction in full."""

    model_config = example(
        **_ENTRY,
        version=1,
        valid_until_ms=1_767_312_000_000,
        body={"standard": "invoice_issued@2", "count": 4096, "root": "11" * 32},
        key_ids=["aa" * 32],
        raw="d28400",
    )

    version: Count
    valid_until_ms: TimeMs
    body: dict[str, Any]
    """As its kind has it, bytes in hex."""
    key_ids: tuple[Hex, ...]
    """Of the keys that signed it."""
    raw: Annotated[Hex, Field(max_length=120_000)]
    """The signed bytes that were hashed into the log."""


_BLOCK = {
    "height": 5,
    "time_ms": 1_767_225_600_000,
    "first_index": 12,
    "transactions": 2,
    "entry": "a5",
    "state_root": "3c" * 32,
}


class BlockSummary(Wire):
    """One block: its transactions are the leaves from first_index on, and its entry is the leaf after them."""

    model_config = example(**_BLOCK)

    height: Count
    time_ms: TimeMs
    first_index: Count
    transactions: Count
    entry: Hex
    state_root: Hex


class BlockPage(Page[BlockSummary]):
    """Blocks by height."""

    model_config = example(items=[_BLOCK], next="6")


class CheckpointRecord(Wire):
    """A signed checkpoint (C2SP signed note)."""

    model_config = example(
        origin="shuiqiao/" + "8f" * 32,
        size=130,
        root="2a" * 32,
        note="shuiqiao/8f8f\n130\nKio=\n\n— shuiqiao/8f8f/tax-bureau AAAA\n",
    )

    origin: Name
    size: Count
    root: Hex
    note: Annotated[str, Field(max_length=65_536)]
    """With every signature that this institution has; empty before the first block."""


class ConsistencyProof(Wire):
    """That the log of a smaller size is the beginning of the log of a larger one (RFC 6962)."""

    model_config = example(old_size=100, new_size=130, path=["4d" * 32])

    old_size: Count
    new_size: Count
    path: tuple[Hex, ...]


class StateValue(Wire):
    """What the state holds at a key after the newest block here; a proof of it comes with a receipt."""

    model_config = example(key="members/epoch", height=42, is_set=True, value={"number": 0, "quorum": 2})

    key: Name
    height: Count
    is_set: bool
    value: Any
    """Bytes in hex."""


RECEIPT_TYPE: Final = "application/vnd.shuiqiao.receipt+cbor"
MAX_RECEIPT_BYTES: Final = 1 << 20
"""As ``ledger.receipts.receipt``, which reads none that is longer."""

LIST_ENTRIES: Final = Operation(method="GET", path="/ledger/entries", sent=EntryQuestion, told=EntryPage)
RECEIPT: Final = Download(
    path="/ledger/entries/{index}/receipt",
    sent=ReceiptQuestion,
    media_type=RECEIPT_TYPE,
    max_bytes=MAX_RECEIPT_BYTES,
)
