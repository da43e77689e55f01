"""News of a running server's ledger, as they come [API-10]."""

from __future__ import annotations

import asyncio
from itertools import count as numbers

import pytest

from shuiqiao.api.access import unauthenticated
from shuiqiao.api.news import MAX_STREAMS, STREAMS_OF_ONE, News
from shuiqiao.api.routes.events import stream_entries
from shuiqiao.base.errors import Unavailable

CALLERS = numbers()


def read(bureau, first, *, count):
    """Return the first pieces of a stream, as its caller gets them."""

    async def run():
        news, pieces = News(bureau.running.institution.engine), []
        reader = news.reader(next(CALLERS))
        stream = stream_entries(bureau.running, first, news=news, reader=reader, require_known=lambda: None)
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

        more = {"reader": news.reader(next(CALLERS)), "require_known": require_known, "alive_s": 0.0}
        async for _ in stream_entries(bureau.running, 0, news=news, **more):
            pass
        return len(asked), len([news.reader(next(CALLERS)) for _ in range(MAX_STREAMS)])

    assert asyncio.run(run()) == (3, MAX_STREAMS)


def test_who_goes_away_before_the_first_piece_takes_no_place(bureau):
    async def run():
        news = News(bureau.running.institution.engine)
        for _ in range(MAX_STREAMS + 1):
            # As an answer whose caller is gone: nothing of it is ever asked for.
            stream_entries(bureau.running, 0, news=news, reader=news.reader(next(CALLERS)), require_known=lambda: None)

    asyncio.run(run())


def test_more_readers_than_may_are_refused(bureau):
    async def run():
        news = News(bureau.running.institution.engine)
        readers = [news.reader(next(CALLERS)) for _ in range(MAX_STREAMS)]
        with pytest.raises(Unavailable) as refused:
            news.reader(next(CALLERS))
        readers[0].leave()
        news.reader(next(CALLERS))
        return refused.value.code

    assert asyncio.run(run()) == "api.streams_many"


def test_one_caller_leaves_streams_to_others(bureau):
    """[API-10]"""

    async def run():
        news = News(bureau.running.institution.engine)
        readers = [news.reader("greedy") for _ in range(STREAMS_OF_ONE)]
        with pytest.raises(Unavailable) as refused:
            news.reader("greedy")
        readers += [news.reader("modest")]
        readers[0].leave()
        readers += [news.reader("greedy")]
        return refused.value.code, len(readers)

    assert asyncio.run(run()) == ("api.streams_many", STREAMS_OF_ONE + 2)
