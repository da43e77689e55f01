"""A bank's and a bureau's links on one machine: between two worker processes, or in this process and overheard.

For study, figures and tests alone: two members that compute with each other have a server and a worker each.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.privacy.secure.model import TAG_BYTES, LinkEnds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from shuiqiao.privacy.secure.library import Party
    from shuiqiao.privacy.secure.model import SecureFunction

BANK: Final = MemberId("bank")
BUREAU: Final = MemberId("bureau")
BINDING: Final = sha256(b"a request").digest()
"""What runs are bound to that need no request of their own."""

_RUN_S: Final = 120.0
_FRAME_S: Final = 120.0


class SecurePair:
    """The links of both. Whoever makes it closes it.

    Example::

        pair = SecurePair()
        pair.open().outputs(SecureFunction(indicators=2, cuts=0, output=SecureOutput.POINTS), [5, 7], [0, 1])  # [7]
    """

    def __init__(
        self, *, workers: int = 2, timeout_s: float = _RUN_S, names: tuple[MemberId, MemberId] = (BANK, BUREAU)
    ) -> None:
        """workers, timeout_s: as ``SecureLinks`` has them. names: of bank and bureau."""
        self._names = names
        self.bank = SecureLinks(workers=workers, timeout_s=timeout_s)
        self.bureau = SecureLinks(listen="127.0.0.1:0", workers=workers, timeout_s=timeout_s)

    def open(self) -> Self:
        """Open a link, in place of one that was there; closes all and raises what ``SecureLinks`` raises."""
        try:
            bank, bureau = self._names
            self.bank.connect(bureau, self.bureau.accept(bank, self.bank.offer(bureau)))
        except BaseException:
            self.close()
            raise
        return self

    def halves(
        self,
        function: SecureFunction,
        weights: Sequence[int] | npt.NDArray[np.int64],
        holds: Sequence[int] | npt.NDArray[np.int64],
        *,
        binding: bytes = BINDING,
        theirs: SecureFunction | None = None,
        their_binding: bytes | None = None,
    ) -> tuple[bytes | ShuiqiaoError, bytes | ShuiqiaoError]:
        """Return the share that came of each half, the bank's first, or what was raised there.

        holds: rows x indicators, 0 or 1. theirs, their_binding: of the bureau, where they are others.
        """

        def half(run: Callable[[], bytes]) -> bytes | ShuiqiaoError:
            try:
                return run()
            except ShuiqiaoError as error:
                return error

        with ThreadPoolExecutor(1) as pool:
            bureau = pool.submit(
                half, lambda: self.bureau.run(BANK, theirs or function, holds, binding=their_binding or binding)
            )
            return half(lambda: self.bank.run(BUREAU, function, weights, binding=binding)), bureau.result()

    def outputs(
        self,
        function: SecureFunction,
        weights: Sequence[int] | npt.NDArray[np.int64],
        holds: Sequence[int] | npt.NDArray[np.int64],
        *,
        binding: bytes = BINDING,
    ) -> list[int]:
        """Return the outputs of all rows of one run; raises what either half raises, the bank's first."""
        bank, bureau = self.halves(function, weights, holds, binding=binding)
        if isinstance(bank, ShuiqiaoError):
            raise bank
        if isinstance(bureau, ShuiqiaoError):
            raise bureau
        return function.combine_all(bank, bureau)

    def workers(self) -> tuple[int, ...]:
        """Return the process ids of the workers that live, the bank's first."""
        return (*self.bank.worker_pids, *self.bureau.worker_pids)

    def close(self) -> None:
        """End both workers."""
        self.bank.close()
        self.bureau.close()


def random_rows(random: np.random.Generator, *, rows: int, features: int = 20, bins: int = 5) -> npt.NDArray[np.int64]:
    """Return indicators of taxpayers, rows x features * bins: of each feature one bin holds."""
    import numpy as np

    holds = np.zeros((rows, features * bins), dtype=np.int64)
    chosen = np.arange(features) * bins + random.integers(0, bins, (rows, features))
    holds[np.arange(rows)[:, np.newaxis], chosen] = 1
    return holds


class OverheardFrames:
    """Frames to another party in this process, all of them kept."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self._came: defaultdict[str, queue.Queue[bytes]] = defaultdict(queue.Queue)
        # Two threads that are the first to name a key would make a queue each, and one frame would be lost.
        self._naming = threading.Lock()
        self.other = self

    def send(self, key: str, data: bytes) -> None:
        """Hand one frame over."""
        self.sent += data
        self.other.take(key, data)

    def take(self, key: str, data: bytes) -> None:
        """Keep one frame until it is asked for."""
        self._queue(key).put(data)

    def receive(self, key: str) -> bytes:
        """Return the next frame of a key."""
        return self._queue(key).get(timeout=_FRAME_S)

    def _queue(self, key: str) -> queue.Queue[bytes]:
        with self._naming:
            return self._came[key]


class OverheardLinks(SecureLinks):
    """One end's links, of which one is always open, and computes in this process."""

    def __init__(self, party: Party, frames: OverheardFrames) -> None:
        super().__init__()
        self._party, self._frames = party, frames

    @property
    def sent(self) -> bytes:
        """What went to the other end."""
        return bytes(self._frames.sent)

    def is_open(self, peer: MemberId) -> bool:
        """Always."""
        del peer
        return True

    def ends(self, peer: MemberId) -> LinkEnds:
        """By no certificate: nobody was shown one."""
        del peer
        return LinkEnds(session=BINDING, bank=bytes(32), bureau=bytes(32))

    def run(
        self,
        peer: MemberId,
        function: SecureFunction,
        values: Sequence[int] | npt.NDArray[np.int64],
        *,
        binding: bytes,
        wait_s: float = 0.0,
    ) -> bytes:
        """Compute this end's half, as a worker does after it compared."""
        import numpy as np

        del peer, wait_s
        code = self._party.compiled(function.text, inputs=3 if function.cuts else 2)
        kind, words = self._party.run(function, code, np.array(values, dtype=np.int64))
        return function.share_of(kind, words, tag=binding[:TAG_BYTES])


def overheard_parties() -> tuple[tuple[Party, OverheardFrames], tuple[Party, OverheardFrames]]:
    """Return a bank and a bureau of this process, each with all that it sends.

    Raises Unavailable ``privacy.extra_missing``.
    """
    from shuiqiao.privacy.secure.library import Party, context_over, load_library

    library, frames = load_library(), (OverheardFrames(), OverheardFrames())
    frames[0].other, frames[1].other = frames[1], frames[0]

    def begun(rank: int) -> tuple[Party, OverheardFrames]:
        return Party(library, context_over(library, {1 - rank: frames[rank]}, rank=rank), rank=rank), frames[rank]

    with ThreadPoolExecutor(2) as pool:
        bank, bureau = pool.map(begun, (0, 1))
    return bank, bureau


def overheard() -> tuple[OverheardLinks, OverheardLinks]:
    """Return the links of a bank and of a bureau that compute here; raises Unavailable ``privacy.extra_missing``."""
    bank, bureau = overheard_parties()
    return OverheardLinks(*bank), OverheardLinks(*bureau)
