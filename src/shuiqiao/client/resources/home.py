"""What a running server tells the owner of its home."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shuiqiao.client.wire import Count, Hex, Name, TimeMs, Wire, example

MAX_MEMBERS = 1_000
"""Members that one list tells of."""

MAX_WORDS = 2_100

Words = Annotated[str, Field(max_length=MAX_WORDS)]


class DifferingClock(Wire):
    """A member whose clock and this one's are too far apart for messages between them; either may be wrong."""

    model_config = example(
        member="tax-bureau",
        says="first-bank made the message at 2026-01-05T08:10:00.000Z, at tax-bureau it is 2026-01-05T08:00:00.000Z: "
        "600 s apart where 120 are allowed",
    )

    member: Name
    says: Words


class HomeStatus(Wire):
    """Where an institution stands."""

    model_config = example(
        member="tax-bureau",
        role="tax_bureau",
        engine="embedded",
        suite="intl",
        network="8f" * 32,
        version="0.2.0",
        pid=4711,
        height=42,
        block_time_ms=1_767_225_600_000,
        entries=130,
        outbox_waiting=1,
        deliveries="1 messages wait: 1 for first-bank (https://bank.example:8611 cannot be reached)",
        waits_for="waits for the writer tax-bureau: http://127.0.0.1:8610 cannot be reached",
        differing_clocks=[],
    )

    member: Name
    role: Name
    engine: Name
    suite: Name
    network: Hex
    version: Name
    pid: Count
    height: Count
    block_time_ms: TimeMs
    entries: Count
    outbox_waiting: Count
    deliveries: Words
    """What waits for which member and why; empty where nothing does."""
    waits_for: Words
    """What its copy of the ledger waits for before it goes on, and why; empty where it does not."""
    differing_clocks: Annotated[tuple[DifferingClock, ...], Field(max_length=MAX_MEMBERS)]
