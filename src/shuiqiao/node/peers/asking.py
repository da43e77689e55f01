"""How this member asks another one: a signed message by HTTP to where the directory says, and a bounded answer.

The one HTTP client carries it: no redirect is followed, nothing is read beyond what the act's answer may have, and an
exchange that takes too long ends [PEER-5]. A member that cannot be reached is Unavailable; a refusal of the other side
comes back as the error that it raised there.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.client import tracing
from shuiqiao.client.http import HttpClient
from shuiqiao.node.peers.acts import Wire, decode_wire, encode_wire, max_answer_bytes
from shuiqiao.node.peers.message import Act, MessageSigner

if TYPE_CHECKING:
    import msgspec

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.node.peers.directory import PeerDirectory, Reach

PEER_PATH: Final = "/peer/v1"
MESSAGE_TYPE: Final = "application/cose"
ANSWER_TYPE: Final = "application/cbor"

DEFAULT_TIMEOUT_S: Final = 30.0
"""How long an exchange may take where its act needs no more, in seconds."""

_OTHER_KEY: Final = "ledger.document_signers_wrong"


@dataclass(frozen=True, slots=True)
class _Line:
    """The connections to one member, as long as it is reached at the same place."""

    reach: Reach
    http: HttpClient


class PeerClient:
    """Asks the other members; safe between threads.

    Example::

        note = client.ask(writer, Act.CHECKPOINT, Nothing(), answer=SignedNote).note
    """

    def __init__(self, *, signer: MessageSigner, directory: PeerDirectory) -> None:
        self._signer = signer
        self._lock = threading.Lock()
        self._lines: dict[MemberId, _Line] = {}
        self._is_closed = False
        self._ending: threading.Timer | None = None
        self.directory = directory
        """Where the others are reached."""

    @property
    def member(self) -> MemberId:
        """In whose name it asks."""
        return self._signer.member

    def ask(
        self,
        member: MemberId,
        act: Act,
        body: msgspec.Struct | bytes,
        *,
        answer: type[Wire],
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Wire:
        """Return a member's answer, its form checked and nothing of it believed.

        Raises Unavailable ``peer.endpoint_unknown``, ``peer.answer_malformed``; Denied ``peer.endpoint_private``; what
        ``HttpClient.request`` raises, and so what the other side refuses with.
        """
        data = body if isinstance(body, bytes) else encode_wire(body)
        with tracing.span(f"peer {act}", kind="client", peer=member, act=act) as span:
            try:
                found = self._answered(member, act, data, timeout_s=timeout_s)
            except ShuiqiaoError as error:
                span.tell(code=error.code)
                raise
        try:
            return decode_wire(found, answer, max_bytes=max_answer_bytes(act))
        except InvalidInput as error:
            raise Unavailable(
                "peer.answer_malformed", f"{member} answered {act} with something else: {error.message}"
            ) from error

    def _answered(self, member: MemberId, act: Act, data: bytes, *, timeout_s: float) -> bytes:
        """Return the bytes of an answer, asked for under the key that the other side knows."""
        first, *others = self._signer.keys
        try:
            return self._exchange(member, act, data, key=first, timeout_s=timeout_s)
        except ShuiqiaoError as error:
            if error.code != _OTHER_KEY or not others:
                raise
            return self._exchange(member, act, data, key=others[0], timeout_s=timeout_s)

    def finish_within(self, seconds: float) -> None:
        """Let what is being asked end, and close all connections after a time at the latest."""
        self._ending = threading.Timer(seconds, self.close)
        self._ending.daemon = True
        self._ending.start()

    def close(self) -> None:
        """Close all connections, also those in use."""
        if self._ending is not None:
            self._ending.cancel()
        with self._lock:
            self._is_closed = True
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            line.http.close()

    def _exchange(self, member: MemberId, act: Act, data: bytes, *, key: SigningKey, timeout_s: float) -> bytes:
        line = self._line(member)
        found = line.http.request(
            "POST",
            f"{PEER_PATH}/{act}",
            content=self._signer.sign(data, act=act, receiver=member, key=key),
            content_type=MESSAGE_TYPE,
            accept=ANSWER_TYPE,
            max_bytes=max_answer_bytes(act),
            timeout_s=timeout_s,
        )
        return found.body

    def _line(self, member: MemberId) -> _Line:
        reach = self.directory.find(member)
        with self._lock:
            if self._is_closed:
                raise Unavailable("client.unreachable", f"{self.member} is being closed and asks nobody any more")
            known = self._lines.get(member)
            if known is not None and known.reach == reach:
                return known
            pin = reach.endpoint.pin or None
            http = HttpClient(reach.endpoint.url, pin=pin, may_connect=reach.may_connect)
            line = self._lines[member] = _Line(reach, http)
        if known is not None:
            # It moved: what is being asked there is not worth waiting for.
            known.http.close()
        return line
