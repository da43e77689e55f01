"""A hostile caller of a server's door for other members, as a process of its own beside whom it is measured.

Started as ``python -m shuiqiao.sandbox.benchmarks.hostile_load SPEC``, SPEC being the JSON of ``HostileLoad``. It calls
from an address of its own (127.0.0.2), as another machine would, begins again whatever is cut off, writes ``ready``
once all of it runs, and goes on until its standard input ends. Then it tells how many answers it got, by status.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.base.open_files import allow_open_files
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.genesis import network_id
from shuiqiao.node.home.keys import load_keys, read_passphrase
from shuiqiao.node.home.settings import Home, load_genesis, load_settings
from shuiqiao.node.peers.acts import Nothing, encode_wire
from shuiqiao.node.peers.asking import MESSAGE_TYPE, PEER_PATH
from shuiqiao.node.peers.message import Act, MessageSigner

HOSTILE_ADDRESS: Final = "127.0.0.2"
AT_ONCE: Final = 200
"""Connections that are being opened at a time."""

_DRIP_S: Final = 1.0
_AGAIN_S: Final = 0.05
_BODY_BYTES: Final = 60_000

Attack = Literal["invalid_signatures", "valid_acts", "one_byte_a_second", "open_connections"]


class HostileLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to whom. home: of the member whose key signs, in ``valid_acts``, or whose name is misused."""

    attack: Attack
    port: int
    receiver: str
    home: str
    connections: int


class Attacker:
    """One process of hostile connections."""

    def __init__(self, load: HostileLoad) -> None:
        self._load = load
        self._opening = asyncio.Semaphore(AT_ONCE)
        self._begun = 0
        self._held = 0
        self._all_run = asyncio.Event()
        self.answers: Counter[str] = Counter()

    async def run(self) -> None:
        """Attack until standard input ends."""
        each: dict[str, Callable[[], Coroutine[None, None, None]]] = {
            "invalid_signatures": self._flood,
            "valid_acts": self._flood,
            "one_byte_a_second": self._drip,
            "open_connections": self._hold,
        }
        self._sign = signed_acts(self._load)
        tasks = [asyncio.ensure_future(self._again(each[self._load.attack])) for _ in range(self._load.connections)]
        await self._all_run.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sys.stdout.write(f"{msgspec.json.encode(self.answers).decode()}\n")

    async def _again(self, attack: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin anew whenever the door ended it."""
        while True:
            with suppress(OSError, EOFError, ValueError):
                await attack()
            self.answers["closed"] += 1
            await asyncio.sleep(_AGAIN_S)

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._opening:
            found = await asyncio.open_connection("127.0.0.1", self._load.port, local_addr=(HOSTILE_ADDRESS, 0))
        self._begun += 1
        if self._begun >= self._load.connections:
            self._all_run.set()
        return found

    async def _flood(self) -> None:
        reader, writer = await self._opened()
        try:
            while True:
                body = self._sign()
                writer.write(_head(len(body)) + body)
                await self._answered(reader)
        finally:
            writer.close()

    async def _drip(self) -> None:
        reader, writer = await self._opened()
        try:
            writer.write(_head(_BODY_BYTES))
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b"x")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered(reader), _DRIP_S)
                    return
        finally:
            writer.close()

    async def _hold(self) -> None:
        reader, writer = await self._opened()
        try:
            # Every other one stops within its head, the others before their body.
            self._held += 1
            writer.write(b"POST " if self._held % 2 else _head(_BODY_BYTES))
            await self._answered(reader)
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.lower().split(b"\r\n")
        self.answers[words[0].split(b" ")[1].decode()] += 1
        length = next(int(word[15:]) for word in words if word.startswith(b"content-length:"))
        await reader.readexactly(length)


def signer_of(home: Home) -> MessageSigner:
    """Return what signs in the name of a home's member; its passphrase lies beside it."""
    settings = load_settings(home)
    return MessageSigner(
        member=MemberId(settings.member),
        network=network_id(load_genesis(home.genesis)),
        suite=get_suite(settings.suite),
        keys=(load_keys(home, passphrase=read_passphrase(home.passphrase)).signing,),
        clock=SystemClock(),
        entropy=system_entropy,
    )


def signed_acts(load: HostileLoad) -> Callable[[], bytes]:
    """Return what makes the next message: of a member that asks for the checkpoint, or of who took its name."""
    signer = signer_of(Home(Path(load.home)))

    def valid() -> bytes:
        return signer.sign(encode_wire(Nothing()), act=Act.CHECKPOINT, receiver=MemberId(load.receiver))

    once = valid()
    forged = once[:-1] + bytes([once[-1] ^ 1])
    return valid if load.attack == "valid_acts" else lambda: forged


def _head(length: int) -> bytes:
    return (
        f"POST {PEER_PATH}/{Act.CHECKPOINT} HTTP/1.1\r\nHost: hostile\r\nContent-Type: {MESSAGE_TYPE}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    allow_open_files()
    asyncio.run(Attacker(msgspec.json.decode(sys.argv[1], type=HostileLoad)).run())
