"""Files on their way in [API-11]."""

from __future__ import annotations

import asyncio
import stat
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect, Request

from shuiqiao.api.uploads import MAX_HELD, Uploads
from shuiqiao.base.errors import Unavailable
from shuiqiao.node.home.settings import Home


def sending(*messages):
    """A request whose caller sends so much, and goes away where it sends no end."""
    left = [*messages, {"type": "http.disconnect"}]

    async def receive():
        return left.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}, receive)


def piece(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_file_is_there_whole_while_it_is_used_and_gone_after(tmp_path):
    uploads, body = Uploads(Home(tmp_path)), b"x" * 3_000_000

    async def run():
        async with uploads.receive(sending(piece(body, more=True), piece(b"end")), name="a.csv") as upload:
            return upload.path, upload.path.name, upload.path.read_bytes()

    path, name, found = asyncio.run(run())
    assert (name, found) == ("a.csv", body + b"end")
    assert not path.exists()
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_file_that_is_cut_off_leaves_nothing(tmp_path):
    uploads = Uploads(Home(tmp_path))

    async def run():
        async with uploads.receive(sending(piece(b"x" * 3_000_000, more=True)), name="a.csv"):
            pytest.fail("half a file was given")

    with pytest.raises(ClientDisconnect):
        asyncio.run(run())
    assert list((tmp_path / "uploads").iterdir()) == []


def test_more_at_once_than_may_are_refused_and_their_place_is_free_again(tmp_path):
    uploads = Uploads(Home(tmp_path))

    async def run():
        async with AsyncExitStack() as stack:
            for _ in range(MAX_HELD):
                await stack.enter_async_context(uploads.receive(sending(piece(b"x")), name="a.csv"))
            with pytest.raises(Unavailable) as refused:
                await stack.enter_async_context(uploads.receive(sending(piece(b"x")), name="a.csv"))
            assert refused.value.code == "api.uploads_many"
        async with uploads.receive(sending(piece(b"x")), name="a.csv") as upload:
            assert upload.path.exists()
            upload.is_kept = True
        # Nobody but its owner reads it, and it lies there until its job has ended.
        assert stat.S_IMODE(upload.path.parent.stat().st_mode) == 0o700
        assert upload.path.read_bytes() == b"x"

    asyncio.run(run())
