"""A member that hangs, and callers that ask without end, keep nobody from what is answered here [API-22]."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack
from secrets import token_hex

import anyio.to_thread
import httpx2
import pytest

import consortium_world as worlds
from api_world import asked
from hostile_peers import LyingProxy
from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, PeerNetwork
from shuiqiao.api.lanes import THREADS, WAITING, WAITING_OF_ONE
from shuiqiao.client.http import IDEMPOTENCY_HEADER
from shuiqiao.node.accounts.model import Permission, Principal, PrincipalKind
from shuiqiao.node.server import RunningInstitution

ENDPOINT = "/api/v1/governance/endpoint"


class Asking:
    """Asks a door as many callers at one time, on one loop, with as many threads as a server has."""

    def __init__(self, app) -> None:
        self._app = app

    async def __aenter__(self):
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        self._client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self._app), base_url="http://bank", timeout=None
        )
        return self

    async def __aexit__(self, *_ended: object) -> None:
        await self._client.aclose()

    async def get(self, path, *, token=None, **parameters):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self._client.get(path, params=parameters, headers=headers)

    async def post(self, path, *, token, **message):
        headers = {"Authorization": f"Bearer {token}", IDEMPOTENCY_HEADER: token_hex(16)}
        return await self._client.post(path, json=message, headers=headers)


class Hung:
    """A bank here whose writer takes every question and answers none until it is let go."""

    def __init__(self, folder, stack) -> None:
        network = PeerNetwork(folder, "intl")
        stack.enter_context(network.process(BUREAU))
        proxy = LyingProxy(network.url(BUREAU))
        stack.callback(proxy.close)
        network.change(LEAD_BANK, peers={BUREAU: proxy.url})
        bank = stack.enter_context(network.here(LEAD_BANK))
        # A copy that never reached its writer is not ready [API-23].
        bank.engine.sync()
        self.asked = stack.enter_context(asked(RunningInstitution(bank, stack=stack)))
        self.go_on = threading.Event()
        stack.callback(self.go_on.set)
        proxy.behave = self._hang

    def _hang(self, _handler, _act) -> bool:
        self.go_on.wait(PATIENCE_S)
        return True


@pytest.fixture
def hung(tmp_path):
    with ExitStack() as stack:
        yield Hung(tmp_path, stack)


def wait_until_at_work(outbox, count):
    """Return once so many acts are at work: what waits for the ledger stands in the outbox, signed."""
    ends = time.monotonic() + PATIENCE_S
    while len(outbox.rows()) < count:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_while_acts_wait_for_a_member_that_hangs_everybody_elses_questions_are_answered(hung):
    tokens = [hung.asked.tokens.issue(f"holder-{number}", "members.propose") for number in range(8)]
    outbox = hung.asked.running.institution.outbox
    reader = hung.asked.tokens.issue("reader", "ledger.read")

    async def run():
        async with Asking(hung.asked.apps["public"]) as asking:
            acts = [
                # The same act twice is one: each names an address of its own.
                asyncio.ensure_future(asking.post(ENDPOINT, token=token, url=f"https://b{number}-{place}.example"))
                for number in range(WAITING_OF_ONE + 4)
                for place, token in enumerate(tokens)
            ]
            assert len(acts) > THREADS > WAITING
            await asyncio.to_thread(wait_until_at_work, outbox, WAITING)
            async with asyncio.timeout(PATIENCE_S):
                for path in ("/healthz", "/readyz", "/metrics"):
                    assert (await asking.get(path)).status_code == 200, path
                assert (await asking.get("/api/v1/members", token=reader)).status_code == 200
                # Its acts are stuck, not its questions.
                assert (await asking.get("/api/v1/me", token=tokens[0])).status_code == 200
            assert not any(act.done() for act in acts)
            assert len(outbox.rows()) == WAITING
            hung.go_on.set()
            for act in acts:
                act.cancel()
            await asyncio.gather(*acts, return_exceptions=True)

    asyncio.run(run())


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    world = worlds.ConsortiumWorld(tmp_path_factory.mktemp("holders"), "intl")
    with ExitStack() as stack:
        stack.callback(world.close)
        yield world, RunningInstitution(world.bank, stack=stack)


def enterprise(consent):
    return Principal(
        kind=PrincipalKind.ENTERPRISE,
        id=f"consent:{consent}",
        name=consent,
        person=consent,
        permissions=frozenset({Permission.OWN_READ}),
        consent=consent,
    )


def test_an_enterprise_is_one_holder_however_many_consents_it_has(consortium):
    world, running = consortium
    first, second = world.consent(), world.consent()
    assert first != second
    assert running.holder_of(enterprise(first)) == running.holder_of(enterprise(second))
    unknown = f"{first[:-4]}0000"
    assert running.holder_of(enterprise(unknown)) == ("consent", unknown)


def test_a_user_is_one_holder_with_its_programs(consortium):
    _, running = consortium
    user, program, other = (
        Principal(kind=kind, id=name, name=name, person=person, permissions=frozenset())
        for kind, name, person in (
            (PrincipalKind.USER, "u1", "u1"),
            (PrincipalKind.MACHINE, "c1", "u1"),
            (PrincipalKind.USER, "u2", "u2"),
        )
    )
    assert running.holder_of(user) == running.holder_of(program) != running.holder_of(other)


def test_who_asks_for_the_past_without_end_keeps_nobody_from_it(bureau):
    """[API-15]"""
    greedy = bureau.tokens.issue("greedy-regulator", "oversight.read")
    modest = bureau.tokens.issue("modest-regulator", "oversight.read")
    size = bureau.running.institution.engine.checkpoint().size

    async def run():
        ended = asyncio.Event()
        async with Asking(bureau.apps["public"]) as asking:

            async def ask_on(number):
                found = []
                while not ended.is_set():
                    answer = await asking.get("/api/v1/past/anchors", token=greedy, size=size - number % 2)
                    found.append(answer.status_code)
                return found

            asked_on = [asyncio.ensure_future(ask_on(number)) for number in range(4)]
            statuses = [
                (await asking.get("/api/v1/past/anchors", token=modest, size=size)).status_code for _ in range(3)
            ]
            ended.set()
            return statuses, {status for found in await asyncio.gather(*asked_on) for status in found}

    # A moment within a block is none: whoever asks for it is told so, and not to come again.
    statuses, of_greedy = asyncio.run(run())
    assert statuses == [200] * 3
    assert of_greedy <= {200, 404}
