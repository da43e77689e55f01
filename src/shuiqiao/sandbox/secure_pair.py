"""A bank's and a bureau's links on one machine: between two worker processes, or in this process and overheard.

For the study alone: two members that compute with each other have a server and a worker each.
"""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from shuiqiao.base.ids import MemberId
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.privacy.secure.model import TAG_BYTES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from shuiqiao.privacy.secure.library import Party
    from shuiqiao.privacy.secure.model import SecureFunction

_BANK: Final = MemberId("bank")
_BUREAU: Final = MemberId("bureau")
_RUN_S: Final = 120.0
_FRAME_S: Final = 30.0


class SecurePair:
    """Two links to each other. Whoever opens it closes it."""

    def __init__(self) -> None:
        """Open it; raises what ``SecureLinks`` raises."""
        self._bank = SecureLinks(timeout_s=_RUN_S)
        self._bureau = SecureLinks(listen="127.0.0.1:0", timeout_s=_RUN_S)
        try:
            self._bank.connect(_BUREAU, self._bureau.accept(_BANK, self._bank.offer(_BUREAU)))
        except BaseException:
            self.close()
            raise

    def outputs(
        self, function: SecureFunction, weights: Sequence[int], holds: npt.NDArray[np.int64], *, run: str
    ) -> list[int]:
        """Return the outputs of all rows of one run. run: a name that no other one has."""
        binding = sha256(run.encode()).digest()
        with ThreadPoolExecutor(1) as pool:
            bureau = pool.submit(self._bureau.run, _BANK, function, holds.reshape(-1), binding=binding)
            bank = self._bank.run(_BUREAU, function, weights, binding=binding)
            return function.combine_all(bank, bureau.result())

    def close(self) -> None:
        """End both workers."""
        self._bank.close()
        self._bureau.close()


class OverheardFrames:
    """Frames to another party in this process, all of them kept."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self._came: defaultdict[str, queue.Queue[bytes]] = defaultdict(queue.Queue)
        self.other = self

    def send(self, key: str, data: bytes) -> None:
        """Hand one frame over."""
        self.sent += data
        self.other.take(key, data)

    def take(self, key: str, data: bytes) -> None:
        """Keep one frame until it is asked for."""
        self._came[key].put(data)

    def receive(self, key: str) -> bytes:
        """Return the next frame of a key."""
        return self._came[key].get(timeout=_FRAME_S)


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


@contextmanager
def overheard() -> Generator[tuple[OverheardLinks, OverheardLinks]]:
    """Give the links of a bank and of a bureau that compute here; raises Unavailable ``privacy.extra_missing``."""
    from shuiqiao.privacy.secure.library import Party, context_over, load_library

    library, frames = load_library(), (OverheardFrames(), OverheardFrames())
    frames[0].other, frames[1].other = frames[1], frames[0]

    def begun(rank: int) -> Party:
        return Party(library, context_over(library, frames[rank], rank=rank), rank=rank)

    with ThreadPoolExecutor(2) as pool:
        bank, bureau = pool.map(begun, (0, 1))
    yield OverheardLinks(bank, frames[0]), OverheardLinks(bureau, frames[1])
