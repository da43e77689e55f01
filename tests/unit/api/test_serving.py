"""A server frees what holds itself, and lets in as many connections as leave open files to its home [API-20]."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from weakref import ref

import pytest

from patience import PATIENCE_S
from shuiqiao.api import serving
from shuiqiao.api.serving import FILES_OF_HOME, MAX_CONNECTIONS, OWN_CONNECTIONS, connections_within


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


@pytest.mark.parametrize("files", [256, 1_024, 4_096, 20_000, 65_536, 1 << 20])
def test_connections_leave_the_files_that_a_home_needs(files):
    public, peers = connections_within(files)
    assert 0 < public <= peers <= MAX_CONNECTIONS
    assert public + peers <= files - min(FILES_OF_HOME + OWN_CONNECTIONS, files // 2)


def test_ten_thousand_callers_fill_no_door_where_the_system_allows_enough_files():
    assert connections_within(20_000)[1] > 10_000
    assert min(connections_within(65_536)) > 10_000
