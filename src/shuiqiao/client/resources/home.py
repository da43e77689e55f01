"""What a running server tells the owner of its home."""

from __future__ import annotations

from shuiqiao.client.wire import Count, Hex, Name, TimeMs, Wire, example


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
        outbox_waiting=0,
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
