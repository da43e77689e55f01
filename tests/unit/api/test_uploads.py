"""Files on their way in [API-11]."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import stat
from contextlib import AsyncExitStack

import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient

from shuiqiao.api.problems import install_handlers
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
            return upload.path, upload.digest, upload.path.read_bytes()

    path, digest, found = asyncio.run(run())
    assert (path.name, found, digest) == ("a.csv", body + b"end", hashlib.sha256(found).digest())
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


@pytest.fixture
def full_disk():
    """No file gets longer than a mebibyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_as_such_and_leaves_nothing(tmp_path):
    app, uploads = FastAPI(), Uploads(Home(tmp_path))
    install_handlers(app)

    @app.post("/")
    async def take(request: Request) -> None:
        async with uploads.receive(request, name="a.csv"):
            pytest.fail("a file was given that no disk holds")

    answer = TestClient(app, raise_server_exceptions=False).post("/", content=b"x" * 3_000_000)
    assert (answer.status_code, answer.json()["code"]) == (503, "node.home_unwritable")
    assert list((tmp_path / "uploads").iterdir()) == []
