"""One of three parties of a computation (ABY3): numbers shared among them, functions run, results opened to some.

Rule: docs/spec/training.md [TRAIN-2], [TRAIN-3]. A share that another party sends is taken at the very length and in
the very form that the library gives a share of that shape: the library reads nothing else of what came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.privacy.secure.library import AnyParty, FrameLine
from shuiqiao.privacy.secure.model import JOINT_RUNTIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

_KEY: Final = "shares"
_PART_BYTES: Final = 32 * 2**20
"""Of a share in one frame."""


class JointParty(AnyParty):
    """One of three parties. rank: 0 the bank, 1 the bureau, 2 the third, which has no numbers of its own."""

    _parties = 3
    _runs_by = JOINT_RUNTIME

    def __init__(self, library: Any, context: Any, lines: Mapping[int, FrameLine], *, rank: int) -> None:
        """Begin to compute with the two others. lines: to each of them, by rank."""
        super().__init__(library, context, rank=rank)
        self._lines = lines
        self._codes: dict[str, bytes] = {}
        self._forms: dict[tuple[int, ...], Any] = {}

    def compiled(self, text: str, *, inputs: int) -> bytes:
        """Return what the library runs of a function, compiled once."""
        if text not in self._codes:
            self._codes[text] = super().compiled(text, inputs=inputs)
        return self._codes[text]

    def take(self, step: Mapping[str, Any], code: bytes, values: bytes, *, kind: str) -> bytes:
        """Take one step that all three agreed on; return what it opened to this party, 4 bytes a number."""
        match step["do"]:
            case "share":
                self._share(step["name"], tuple(step["shape"]), values, owner=step["owner"], kind=kind)
                return b""
            case "run":
                run = self._library.Executable("joint", list(step["inputs"]), list(step["outputs"]), code)
                self._runtime.Run(run)
                for name in step["done"]:
                    self._runtime.DelVar(name)
                return b""
            case "open":
                return b"".join(self._opened(name, to=step["to"]) for name in step["names"])
            case _:
                # The last step: all three say that they have all they need.
                return b""

    def _share(self, name: str, shape: tuple[int, ...], values: bytes, *, owner: int, kind: str) -> None:
        import numpy as np

        if owner == self._rank:
            numbers = np.frombuffer(values, dtype=kind).astype(np.float32).reshape(shape)
            shares = self._shares_of(numbers)
            for rank, line in self._lines.items():
                self._send(line, shares[rank])
            self._runtime.SetVar(name, shares[self._rank])
            return
        form = self._forms.get(shape)
        if form is None:
            form = self._forms[shape] = self._shares_of(np.zeros(shape, dtype=np.float32))[self._rank]
        self._runtime.SetVar(name, self._received(self._lines[owner], form))

    def _opened(self, name: str, *, to: Sequence[int]) -> bytes:
        import numpy as np

        mine = self._runtime.GetVar(name)
        for rank in to:
            if rank != self._rank:
                self._send(self._lines[rank], mine)
        if self._rank not in to:
            return b""
        shares = [
            mine if rank == self._rank else self._received(self._lines[rank], mine) for rank in range(self._parties)
        ]
        opened: bytes = np.asarray(self._inputs.Reconstruct(shares)).astype("<f4").tobytes()
        return opened

    def _shares_of(self, numbers: npt.NDArray[np.float32]) -> Any:
        return self._inputs.MakeShares(numbers, self._library.Visibility.VIS_SECRET, -1)

    @staticmethod
    def _send(line: FrameLine, share: Any) -> None:
        for chunk in share.share_chunks:
            for first in range(0, len(chunk), _PART_BYTES):
                line.send(_KEY, chunk[first : first + _PART_BYTES])

    def _received(self, line: FrameLine, form: Any) -> Any:
        """Return a share of the form of another one: its numbers alone are taken from what came."""
        share = self._library.Share()
        share.meta = form.meta
        share.share_chunks = [self._chunk(line, chunk) for chunk in form.share_chunks]
        return share

    def _chunk(self, line: FrameLine, form: bytes) -> bytes:
        came = bytearray()
        while len(came) < len(form):
            part = line.receive(_KEY)
            came += part
            if not part or len(came) > len(form):
                raise _malformed()
        read = self._library.ValueChunk()
        read.ParseFromString(form)
        head = len(form) - len(read.content)
        if bytes(came[:head]) != form[:head]:
            raise _malformed()
        return bytes(came)


def _malformed() -> IntegrityError:
    return IntegrityError("privacy.secure_failed", "another side sends what is no share of the numbers agreed on")
