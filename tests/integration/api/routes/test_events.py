"""News of a running server's ledger, as they come [API-10]."""

from __future__ import annotations

import asyncio

import pytest

from shuiqiao.api.access import unauthenticated
from shuiqiao.api.news import MAX_STREAMS, News
from shuiqiao.api.routes.events import stream_entries
from shuiqiao.base.errors import Unavailable


def read(bureau, first, *, count):
    """Return the first pieces of a stream, as its caller gets them."""

    async def run():
        news, pieces = News(bureau.running.institution.engine), []
        stream = stream_entries(bureau.running, first, news=news, reader=news.reader(), require_known=lambda: None)
        async for piece in stream:
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


def test_a_stream_ends_with_the_token_of_its_caller(bureau):
    async def run():
        news, asked = News(bureau.running.institution.engine), []

        def require_known():
            asked.append(True)
            if len(asked) == 3:
                raise unauthenticated()

        more = {"reader": news.reader(), "require_known": require_known, "alive_s": 0.0}
        async for _ in stream_entries(bureau.running, 0, news=news, **more):
            pass
        return len(asked), len([news.reader() for _ in range(MAX_STREAMS)])

    assert asyncio.run(run()) == (3, MAX_STREAMS)


def test_who_goes_away_before_the_first_piece_takes_no_place(bureau):
    async def run():
        news = News(bureau.running.institution.engine)
        for _ in range(MAX_STREAMS + 1):
            # As an answer whose caller is gone: nothing of it is ever asked for.
            stream_entries(bureau.running, 0, news=news, reader=news.reader(), require_known=lambda: None)

    asyncio.run(run())


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
