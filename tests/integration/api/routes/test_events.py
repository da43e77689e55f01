"""News of a running server's ledger, as they come [API-10]."""

from __future__ import annotations

import asyncio

import pytest

from shuiqiao.api.news import MAX_STREAMS, News
from shuiqiao.api.routes.events import stream_entries
from shuiqiao.base.errors import Unavailable


def read(bureau, first, *, count):
    """Return the first pieces of a stream, as its caller gets them."""

    async def run():
        news, pieces = News(bureau.running.institution.engine), []
        async for piece in stream_entries(bureau.running, first, news=news, reader=news.reader()):
            pieces.append(piece)
            if len(pieces) == count:
                news.close()
        return b"".join(pieces).decode()

    return asyncio.run(run())


def test_entries_come_in_order_from_an_index_on_and_the_stream_ends_with_the_server(bureau):
    ids = [int(line[4:]) for line in read(bureau, 0, count=3).splitlines() if line.startswith("id: ")]
    assert ids == sorted(ids)
    assert ids[0] == 0
    assert f"id: {ids[1]}\n" in read(bureau, ids[0] + 1, count=1)


def test_more_readers_than_may_are_refused(bureau):
    async def run():
        news = News(bureau.running.institution.engine)
        readers = [news.reader() for _ in range(MAX_STREAMS)]
        with pytest.raises(Unavailable) as refused:
            news.reader()
        readers[0].leave()
        news.reader()
        return refused.value.code

    assert asyncio.run(run()) == "api.streams_many"
