"""Bodies and requests: what a door lets through [API-4] [API-5]."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import ClientDisconnect

from shuiqiao.api.limits import (
    MAX_DELAY_S,
    SENT_AT_ONCE,
    BodyLimits,
    BodyRoom,
    BodyTimes,
    Rate,
    RequestRates,
    Shares,
    address_of,
)
from shuiqiao.base.errors import Unavailable

LIMITS = {"/small": 10, "/large/": 1_000}


async def echo_length(_scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def scope_of(path, *, address):
    return {"type": "http", "path": path, "headers": [], "method": "POST", "client": (address, 1)}


def answer(pieces, *, path="/small", declared=None, times=None):
    """Send a body in pieces, None for one that never comes, and return status and body of the answer."""
    sent, left = [], list(pieces)

    async def receive():
        piece = left.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    headers = [] if declared is None else [(b"content-length", declared)]
    scope = {"type": "http", "path": path, "headers": headers, "method": "POST"}
    app = BodyLimits(echo_length, limits=LIMITS, times=times or BodyTimes())
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_a_body_within_the_limit_goes_through_whole():
    assert answer([b"12345", b"67890"]) == (200, b"10")


def test_bodies_of_all_callers_share_the_memory_of_a_door_and_give_it_back():
    async def run():
        go_on, codes = asyncio.Event(), []

        async def hold(scope, receive, send):
            await receive()
            await go_on.wait()
            await echo_length(scope, receive, send)

        app = BodyLimits(hold, limits={"/small": 10, "/long": 100}, room=BodyRoom(held_bytes=20))

        async def ask(path, size):
            async def receive():
                return {"type": "http.request", "body": b"x" * size, "more_body": False}

            async def send(message):
                codes.append((path, size, message["status"])) if "status" in message else None

            await app({"type": "http", "path": path, "headers": [], "method": "POST"}, receive, send)

        held = [asyncio.ensure_future(ask("/small", 9)) for _ in range(2)]
        await asyncio.sleep(0)
        await ask("/small", 3)
        # What may be longer than all of it goes to disk.
        held.append(asyncio.ensure_future(ask("/long", 50)))
        go_on.set()
        await asyncio.gather(*held)
        await ask("/small", 10)
        return codes

    codes = asyncio.run(run())
    assert codes[0] == ("/small", 3, 503)
    assert sorted(codes[1:]) == [("/long", 50, 200), ("/small", 9, 200), ("/small", 9, 200), ("/small", 10, 200)]


def test_one_address_holds_a_part_of_the_memory_and_leaves_the_rest_to_others():
    """[API-5]"""

    async def run():
        go_on, refused = asyncio.Event(), []

        async def hold(scope, receive, send):
            await receive()
            await go_on.wait()
            await echo_length(scope, receive, send)

        app = BodyLimits(hold, limits=LIMITS, room=BodyRoom(held_bytes=100, held_of_one=15))

        async def ask(address):
            async def receive():
                return {"type": "http.request", "body": b"x" * 9, "more_body": False}

            async def send(message):
                if message.get("status") == 503:
                    refused.append(address)

            await app(scope_of("/small", address=address), receive, send)

        asked = [asyncio.ensure_future(ask(address)) for address in ("greedy", "greedy", "modest", "greedy")]
        for _ in range(3):
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*asked)
        await ask("greedy")
        return refused

    assert asyncio.run(run()) == ["greedy", "greedy"]


def give(body, *, pieces_taken=None):
    """Answer with a body to a caller that takes so many messages and no more; return what it got."""
    taken = []

    async def answer_long(_scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if len(taken) == pieces_taken:
            await asyncio.Event().wait()
        taken.append(message)

    app = BodyLimits(answer_long, limits=LIMITS, times=BodyTimes(piece_s=0.01))
    asyncio.run(app(scope_of("/small", address="203.0.113.9"), receive, send))
    return taken


def test_a_long_answer_goes_out_in_pieces():
    """[API-5]: the server below would keep the whole of it for a caller that reads none of it."""
    body = bytes(range(256)) * (2 * SENT_AT_ONCE // 256) + b"end"
    pieces = give(body)[1:]
    assert [(len(each["body"]), each.get("more_body", False)) for each in pieces] == [
        (SENT_AT_ONCE, True), (SENT_AT_ONCE, True), (3, False)
    ]  # fmt: skip
    assert b"".join(each["body"] for each in pieces) == body
    assert [each["body"] for each in give(body[:SENT_AT_ONCE])[1:]] == [body[:SENT_AT_ONCE]]


def test_a_caller_that_does_not_read_its_answer_is_cut_off():
    with pytest.raises(ClientDisconnect):
        give(b"x" * 3 * SENT_AT_ONCE, pieces_taken=2)


def test_a_limit_by_the_beginning_of_a_path_holds_below_it():
    assert answer([b"x" * 1_000], path="/large/any") == (200, b"1000")
    assert answer([b"x" * 1_001], path="/large/any")[0] == 413


@pytest.mark.parametrize(
    ("pieces", "declared"), [([b"x" * 11], None), ([b"12345", b"67890", b"1"], None), ([], b"11")], ids=range(3)
)
def test_a_body_that_is_too_long_is_refused(pieces, declared):
    status, body = answer(pieces, declared=declared)
    found = json.loads(body)
    assert (status, found["code"]) == (413, "api.body_too_large")
    came = "11 bytes" if declared else "11 bytes or more"
    assert [(each["field"], each["value"]) for each in found["fields"]] == [("body", came)]
    assert "may have 10 bytes" in found["detail"]


def test_a_body_that_stops_coming_is_refused():
    status, body = answer([b"123", None, b""], times=BodyTimes(piece_s=0.01, whole_s=10))
    assert (status, json.loads(body)["code"]) == (408, "api.body_slow")


def test_a_body_that_comes_for_ever_is_refused_as_well():
    status, body = answer([b"1", b"2", None, b""], times=BodyTimes(piece_s=10, whole_s=0.01))
    assert (status, json.loads(body)["code"]) == (408, "api.body_slow")


def test_a_body_that_waited_for_its_turn_is_not_called_slow():
    """[API-5]: its caller owed nothing while nobody read."""

    async def run():
        sent = []

        async def busy(scope, receive, send):
            await asyncio.sleep(0.05)
            await echo_length(scope, receive, send)

        async def receive():
            return {"type": "http.request", "body": b"whole", "more_body": False}

        async def send(message):
            sent.append(message)

        app = BodyLimits(busy, limits=LIMITS, times=BodyTimes(piece_s=10, whole_s=0.01))
        await app(scope_of("/small", address="203.0.113.9"), receive, send)
        return sent[0]["status"]

    assert asyncio.run(run()) == 200


def test_requests_are_counted_for_each_caller_and_come_back_with_time():
    now = [0.0]
    rates, rate = RequestRates(clock=lambda: now[0]), Rate(burst=2, per_s=1.0)
    rates.count("one", rate=rate)
    rates.count("one", rate=rate)
    with pytest.raises(Unavailable) as refused:
        rates.count("one", rate=rate)
    assert (refused.value.code, refused.value.retry_after_s) == ("api.too_many_requests", 1.0)
    rates.count("other", rate=rate)
    now[0] = 1.0
    rates.count("one", rate=rate)
    with pytest.raises(Unavailable):
        rates.count("one", rate=rate)


def test_who_asks_too_often_is_held_up_to_the_rate_and_loses_nothing():
    now = [0.0]
    rates, rate = RequestRates(clock=lambda: now[0]), Rate(burst=2, per_s=10.0)
    assert [rates.delay_s("one", rate=rate) for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])
    assert rates.delay_s("other", rate=rate) == 0
    now[0] = 0.2
    assert rates.delay_s("one", rate=rate) == pytest.approx(0.1)
    assert max(rates.delay_s("one", rate=rate) for _ in range(1_000)) == pytest.approx(MAX_DELAY_S)
    now[0] = 0.2 + MAX_DELAY_S + 1
    assert rates.delay_s("one", rate=rate) == 0


@pytest.mark.parametrize(
    ("host", "forwarded", "address"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::1", "10.0.0.1, 2001:db8::7", "2001:db8::/64"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("::1", "", "::1"),
        ("127.0.0.1", "198.51.100.7,", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "x" * 9_000, "127.0.0.1"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        ("", "198.51.100.7", ""),
    ],
)
def test_unknown_callers_of_a_proxy_on_this_machine_are_told_apart_by_what_it_says_last(host, forwarded, address):
    """[API-4]: else one of them would use up what all together may ask."""
    assert address_of(host, forwarded=forwarded) == address


def test_a_caller_has_its_share_at_work_and_keeps_nobody_else_waiting():
    async def run():
        shares, go_on, at_work = Shares(2), asyncio.Event(), []

        async def ask(caller):
            async with shares.of(caller):
                at_work.append(caller)
                await go_on.wait()

        asked = [asyncio.ensure_future(ask(caller)) for caller in ("greedy", "greedy", "greedy", "modest")]
        for _ in range(3):
            await asyncio.sleep(0)
        before = sorted(at_work)
        go_on.set()
        await asyncio.gather(*asked)
        return before, len(at_work), shares._shares

    assert asyncio.run(run()) == (["greedy", "greedy", "modest"], 4, {})


def test_as_many_requests_of_a_caller_wait_as_may():
    async def run():
        shares, go_on = Shares(1, waiting=1), asyncio.Event()

        async def ask():
            async with shares.of("one"):
                await go_on.wait()

        full = [shares.is_full("one")]
        asked = [asyncio.ensure_future(ask()) for _ in range(2)]
        await asyncio.sleep(0)
        full += [shares.is_full("one"), shares.is_full("other")]
        go_on.set()
        await asyncio.gather(*asked)
        return [*full, shares.is_full("one")]

    assert asyncio.run(run()) == [False, True, False, False]
