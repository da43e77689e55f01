"""By how much hostile peers slow an honest member between the servers of a sandbox.

Each attack is measured in a pair: an honest act again and again alone, then the same beside the attack. At the bureau's
door for members the act is a bank's submission, until it is durable; at a follower whose writer is hostile it is a
question for a page of its ledger. The attackers are processes of their own and share the machine, so what they
themselves take of it is in the figure too. Afterwards the follower must hold what all others hold: slowed, not misled.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import IO, TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import msgspec

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import new_id, system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.http import HttpClient
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.ledger import EntryPage
from shuiqiao.ledger.model import MAX_VALIDITY_MS
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.node.home.settings import encode_settings, load_settings
from shuiqiao.node.peers.asking import PeerClient
from shuiqiao.node.peers.directory import PeerDirectory
from shuiqiao.node.peers.http_ledger import HttpLedger
from shuiqiao.sandbox.benchmarks import hostile_load, hostile_writer
from shuiqiao.sandbox.benchmarks.hostile_load import HostileLoad, signer_of
from shuiqiao.sandbox.benchmarks.hostile_writer import ENDLESS_PAGES, HONEST, WRONG_ROOTS
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, LEAD_BANK
from shuiqiao.sandbox.servers.logging_in import token_of
from shuiqiao.sandbox.servers.parties import patiently
from shuiqiao.sandbox.servers.running import READY_TIMEOUT_S
from shuiqiao.vault.contract import COMMIT, AnchorCommitBody

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.peers.message import MessageSigner
    from shuiqiao.sandbox.servers.running import Sandbox

HOSTILE_MEMBER: Final = BANKS[1]
DECEIVED: Final = BANKS[2]
"""Whose server is told that the writer is at the hostile one's address."""

UNREAD: Final = 500
"""Transactions that the hostile writer has to lie about."""

CATCH_UP_S: Final = 600.0
"""How long followers may take for the transactions that they missed."""

_P95: Final = 0.95
_PAGE: Final = 20
_POLL_S: Final = 0.02

Act = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostilePeers:
    """How hostile they are. seconds: of each half of a pair. The others are connections of each attack."""

    seconds: float = 5.0
    flooding: int = 64
    dripping: int = 1_000
    open: int = 10_000


def measure_hostile(
    sandbox: Sandbox, peers: HostilePeers, *, progress: Progress = no_progress
) -> list[Mapping[str, object]]:
    """Return a row for each attack, on servers that run; raises what making and starting them raises."""
    rows = [*_at_the_door(sandbox, peers, progress=progress)]
    rows += _at_a_follower(sandbox, peers, progress=progress)
    await_copies(sandbox)
    return rows


# At the bureau's door for members


def _at_the_door(sandbox: Sandbox, peers: HostilePeers, *, progress: Progress) -> Iterator[Mapping[str, object]]:
    attacks: Mapping[hostile_load.Attack, int] = {
        "invalid_signatures": peers.flooding,
        "valid_acts": peers.flooding,
        "one_byte_a_second": peers.dripping,
        "open_connections": peers.open,
    }
    home = sandbox.folder.home(LEAD_BANK)
    port = urlsplit(load_settings(home).peers[BUREAU]).port
    assert port is not None, "a sandbox's addresses name their ports"
    with writer_for(home) as writer:
        drafts = unread_anchors(signer_of(sandbox.folder.home(BUREAU)))

        def submit() -> None:
            writer.submit(next(drafts)).result()

        for attack, connections in attacks.items():
            progress(f"hostile peers 恶意节点: {attack}", 0, None)
            load = HostileLoad(
                attack=attack,
                port=port,
                receiver=BUREAU,
                home=str(sandbox.folder.home(HOSTILE_MEMBER).folder),
                connections=connections,
            )
            pair = _paired(submit, beside=attacking(load), seconds=peers.seconds)
            yield {"attack": attack, "connections": connections, **pair}


@contextmanager
def writer_for(home: Home) -> Generator[HttpLedger]:
    """Give a member's way to the bureau, in its name and beside its server."""
    directory = PeerDirectory(listed=load_settings(home).peers, state=lambda: None)
    with (
        closing(PeerClient(signer=signer_of(home), directory=directory)) as client,
        closing(HttpLedger(client, writer=BUREAU)) as writer,
    ):
        yield writer


@contextmanager
def attacking(load: HostileLoad) -> Generator[None]:
    """Attack as long as this is open; it begins once the whole attack runs."""
    with _beside(hostile_load.__name__, msgspec.json.encode(load).decode()) as (_, told):
        line = told.readline()
        assert line == "ready\n", f"the attack {load.attack} did not begin: {line!r}"
        yield


@contextmanager
def _beside(module: str, argument: str) -> Generator[tuple[IO[str], IO[str]]]:
    """Run a module in a process of its own until its standard input is closed; give its input and output."""
    command = [sys.executable, "-P", "-m", module, argument]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    try:
        yield cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    finally:
        process.communicate()


def unread_anchors(signer: MessageSigner) -> Iterator[bytes]:
    """Return anchors of batches that nobody has, each signed by a bureau."""
    now_ms = signer.clock.now_ms()
    while True:
        draft = TransactionDraft(
            kind=COMMIT,
            version=1,
            body=AnchorCommitBody(
                batch=new_id(system_entropy),
                standard="invoice_issued@2",
                period_from="2024-01-01",
                period_to="2024-12-31",
                count=1,
                depth=0,
                root=system_entropy(32),
            ),
            author=signer.member,
            valid_until_ms=now_ms + MAX_VALIDITY_MS // 2,
            id=new_id(system_entropy),
        )
        yield sign_transaction(draft, network=signer.network, suite=signer.suite, keys=signer.keys)


# At a follower of a hostile writer


def _at_a_follower(sandbox: Sandbox, peers: HostilePeers, *, progress: Progress) -> Iterator[Mapping[str, object]]:
    true_url = load_settings(sandbox.folder.home(DECEIVED)).peers[BUREAU]
    with _beside(hostile_writer.__name__, true_url) as (said, told):
        _send_to(sandbox, DECEIVED, writer_url=told.readline().strip())
        try:
            with _reader_at(sandbox, DECEIVED) as client:
                for behaviour in (WRONG_ROOTS, ENDLESS_PAGES):
                    progress(f"hostile writer 恶意记账者: {behaviour}", 0, None)
                    await_copies(sandbox)
                    beside = _lying(sandbox, said, behaviour)
                    yield {"attack": behaviour, **_paired(partial(_read, client), beside=beside, seconds=peers.seconds)}
        finally:
            _send_to(sandbox, DECEIVED, writer_url=true_url)


@contextmanager
def _lying(sandbox: Sandbox, said: IO[str], behaviour: str) -> Generator[None]:
    _say(said, behaviour)
    _grow(sandbox)
    yield
    _say(said, HONEST)


def _say(said: IO[str], behaviour: str) -> None:
    said.write(f"{behaviour}\n")
    said.flush()


def _grow(sandbox: Sandbox) -> None:
    """Put blocks on the ledger that the follower cannot get."""
    drafts = unread_anchors(signer_of(sandbox.folder.home(BUREAU)))
    with writer_for(sandbox.folder.home(LEAD_BANK)) as writer:
        for future in [writer.submit(next(drafts)) for _ in range(UNREAD)]:
            future.result()


def _send_to(sandbox: Sandbox, member: MemberId, *, writer_url: str) -> None:
    """Have a member's server look for the writer at an address, which it does from its next start on."""
    server, settings = sandbox.server(member), load_settings(sandbox.folder.home(member))
    server.ask_to_end()
    server.wait_ended()
    peers = {**settings.peers, BUREAU: writer_url}
    sandbox.folder.home(member).settings.write_text(encode_settings(msgspec.structs.replace(settings, peers=peers)))
    server.start()
    server.wait_ready(timeout_s=READY_TIMEOUT_S)


@contextmanager
def _reader_at(sandbox: Sandbox, member: MemberId) -> Generator[HttpClient]:
    url = sandbox.url(member)
    with HttpClient(url) as door:
        token = token_of(door, sandbox.folder.accounts_of(member).with_role("operator"), clock=SystemClock())
    with HttpClient(url, token=token) as client:
        yield client


def _read(client: HttpClient) -> None:
    client.get(f"{PREFIX}/ledger/entries", parameters={"limit": _PAGE}).read_as(EntryPage)


def await_copies(sandbox: Sandbox) -> None:
    """Return once all have the same blocks."""
    until = time.monotonic() + CATCH_UP_S
    while len(heights := {each.height for each in sandbox.status()}) > 1:
        if time.monotonic() > until:
            raise AssertionError(f"after {CATCH_UP_S} s the copies of the ledger stand at {heights}")
        time.sleep(_POLL_S)


# Pairs


def _paired(act: Act, *, beside: AbstractContextManager[None], seconds: float) -> Mapping[str, object]:
    """Return how long an act takes alone and beside an attack, and how many times as long at the median."""
    act()
    alone, attacked = _waits_ms(act, nullcontext(), seconds=seconds), _waits_ms(act, beside, seconds=seconds)
    return {
        "alone_ms": _shown(alone),
        "beside_ms": _shown(attacked),
        "slowed": round(median(attacked) / median(alone), 2),
    }


def _waits_ms(act: Act, around: AbstractContextManager[None], *, seconds: float) -> list[float]:
    """Return how long each of the acts took that were begun in a time, the attempts of one together."""
    waits: list[float] = []
    with around:
        until = time.perf_counter() + seconds
        while not waits or time.perf_counter() < until:
            began = time.perf_counter()
            patiently(act)
            waits.append((time.perf_counter() - began) * 1000)
    return sorted(waits)


def _shown(ordered: list[float]) -> Mapping[str, float]:
    return {"p50": round(median(ordered), 1), "p95": round(ordered[int(_P95 * (len(ordered) - 1))], 1)}
