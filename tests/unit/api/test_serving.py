"""A server frees what holds itself, without waiting for the collector to be due."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from weakref import ref

import pytest

from patience import PATIENCE_S
from shuiqiao.api import serving


class Held:
    """What somebody held."""


def test_what_holds_itself_is_freed_by_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "COLLECT_EVERY_S", 0.0)

    async def until_free():
        freed = asyncio.Event()
        held = Held()
        held.itself = held
        kept = ref(held, lambda _: freed.set())
        del held
        collecting = asyncio.create_task(serving._collect())
        await asyncio.wait_for(freed.wait(), PATIENCE_S)
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting
        return kept()

    gc.disable()
    try:
        assert asyncio.run(until_free()) is None
    finally:
        gc.enable()
