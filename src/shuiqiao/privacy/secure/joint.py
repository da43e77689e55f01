"""A computation of three members: one party's part of it, from its offer to the last step.

Rule: docs/spec/training.md [TRAIN-1] to [TRAIN-4]. Each party has a worker process of its own and one pinned connection
to each of the others; the bank dials both, the bureau listens for the bank and dials the third, which listens for both.

    bank (0)                     bureau (1)                  third (2)
    JointSession.begin(0)        begin(1, session)           begin(2, session)      offers, in signed acts
    connect({1:, 2:})            connect({0:, 2:})           connect({0:, 1:})      at about the same time
    share, run, open, end: the same steps with the same arguments at all three, who compare each before it is taken

With two of three shares a number is known: it is assumed that no two of the three work together.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, new_id, system_entropy
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import JOINT_CONFIGURATION, SecureOffer
from shuiqiao.privacy.secure.worker import KEEPS_LINK
from shuiqiao.privacy.secure.worker_link import ADDRESS, WorkerLink, in_ms, verify_offer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BANK, BUREAU, THIRD = 0, 1, 2

MAX_SHARED: Final = 12 * 2**20
"""Numbers of one input: 192 MB of shares."""

_PARTIES: Final = 3
_NUMBER_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JointFunction:
    """One function as StableHLO, of numbers with a point; built by fixed text from a few whole numbers.

    Inputs and outputs are in the order of the text. name: for people who read a log of steps.
    """

    name: str
    text: str

    @property
    def digest(self) -> bytes:
        """32 bytes of the text."""
        return sha256(self.text.encode()).digest()


class JointSession:
    """One party's part. Steps are taken by one thread, and are the same at all three parties.

    Every method raises Unavailable ``privacy.secure_peer_silent`` where a party is gone or late, InvalidInput
    ``privacy.secure_function_differs`` where another party takes another step or computes it otherwise, IntegrityError
    ``privacy.secure_failed`` for what is no message of this protocol. After any of them nothing more is computed: the
    worker is ended, and the others' workers see that.
    """

    def __init__(self, link: WorkerLink, *, timeout_s: float) -> None:
        """Use ``begin``."""
        self._link, self._timeout_s = link, timeout_s
        self._steps: list[bytes] = []
        self._binding = b""

    @classmethod
    def begin(
        cls,
        rank: int,
        *,
        session: bytes = b"",
        listen: str = "",
        ports: int = 4,
        timeout_s: float = 60.0,
        entropy: Entropy = system_entropy,
    ) -> Self:
        """Start a party's worker, and return its part, whose ``offer`` the two others are to have.

        rank: ``BANK``, ``BUREAU`` or ``THIRD``. session: of the bank's offer; the bank makes it. listen: ``host:port``
        of bureau and third, the first of ``ports`` of which a free one is taken. timeout_s: of the opening and of each
        step.

        Raises Unavailable ``privacy.extra_missing``, ``privacy.secure_not_set_up`` (no address, or none that is free).

        Example::

            bank = JointSession.begin(BANK)
            bureau = JointSession.begin(BUREAU, session=bank.offer.session, listen="127.0.0.1:7400")
        """
        require_library()
        if rank != BANK and not listen:
            raise Unavailable("privacy.secure_not_set_up", "no address is set at which secure links are taken")
        host, _, port = listen.rpartition(":") if rank else ("", "", "0")
        link = WorkerLink(
            rank,
            session=session or new_id(entropy),
            configuration=JOINT_CONFIGURATION,
            parties=_PARTIES,
            arguments=(host, port, str(ports), in_ms(timeout_s), in_ms(10 * timeout_s)),
        )
        made = cls(link, timeout_s=timeout_s)
        with made._ended_if_broken():
            link.wait_for_offer(timeout_s=timeout_s)
        return made

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def rank(self) -> int:
        """Which party this is."""
        return self._link.rank

    @property
    def offer(self) -> SecureOffer:
        """What the two others are to know: session, certificate, where this party listens, configuration."""
        return self._link.offer

    @property
    def worker_pid(self) -> int:
        """The process id of the worker."""
        return self._link.pid

    @property
    def steps(self) -> tuple[bytes, ...]:
        """The digests of the steps taken so far, 32 bytes each; the same at all three parties."""
        return tuple(self._steps)

    def connect(self, offers: Mapping[int, SecureOffer], *, binding: bytes) -> None:
        """Link up with both others. offers: theirs, by rank. binding: 32 bytes of what all three agreed to compute.

        Raises InvalidInput ``privacy.secure_protocol_refused`` for an offer of another configuration.
        """
        with self._ended_if_broken():
            if sorted((self.rank, *offers)) != list(range(_PARTIES)):
                raise InvalidInput(KEEPS_LINK, f"offers of {sorted(offers)} where those of both others are wanted")
            for rank, offer in offers.items():
                verify_offer(offer, configuration=JOINT_CONFIGURATION)
                listens = ADDRESS.match(offer.address) is not None
                if offer.session != self._link.session or (rank > self.rank and not listens):
                    raise IntegrityError("privacy.secure_failed", f"the offer of party {rank} is of another session")
            self._binding = binding
            self._link.introduce(offers, timeout_s=self._timeout_s)
            self._link.wait_until_warm(timeout_s=2 * self._timeout_s)

    def share(
        self, name: str, *, owner: int, shape: tuple[int, ...], values: npt.NDArray[np.float64 | np.bool_] | None
    ) -> None:
        """Share numbers among the three, under a name. values: of this shape at the owner, None at the others.

        Numbers are taken to 18 bits behind the point. Raises InvalidInput ``privacy.secure_function_differs`` for
        another shape, values that are not finite, or more than 12 million.
        """
        import numpy as np

        kind, sent = "<f4", b""
        count = int(np.prod(shape))
        with self._ended_if_broken():
            if not 0 < count <= MAX_SHARED:
                raise InvalidInput(KEEPS_LINK, f"{count} numbers of {name}, where 1 to {MAX_SHARED} are shared")
            if (values is None) == (owner == self.rank) or (values is not None and values.shape != shape):
                raise InvalidInput(KEEPS_LINK, f"{name} is not of the shape {shape}, or of another party")
            if values is not None:
                if not np.isfinite(values).all():
                    raise InvalidInput(KEEPS_LINK, f"{name} has a number that is not finite")
                # What is 0 or 1 goes to the worker in a byte.
                kind = "|u1" if values.dtype == np.bool_ else kind
                sent = values.astype(kind).tobytes()
        self._take({"do": "share", "name": name, "owner": owner, "shape": list(shape)}, values=sent, kind=kind)

    def run(
        self, function: JointFunction, inputs: Sequence[str], outputs: Sequence[str], *, done: Sequence[str] = ()
    ) -> None:
        """Compute a function of named numbers. done: names that are not needed after it."""
        names = {"inputs": list(inputs), "outputs": list(outputs), "done": list(done)}
        self._take({"do": "run", "text": function.text, **names})

    def open(self, names: Sequence[str], *, to: Sequence[int]) -> npt.NDArray[np.float64]:
        """Open numbers to some parties and return them in a row, of all names; nothing at any other party."""
        import numpy as np

        opened = self._take({"do": "open", "names": list(names), "to": sorted(to)})
        if len(opened) % _NUMBER_BYTES or bool(opened) != (self.rank in to):
            self.close()
            raise IntegrityError("privacy.secure_failed", f"{len(opened)} bytes were opened")
        return np.frombuffer(opened, dtype="<f4").astype(np.float64)

    def end(self) -> None:
        """Agree with both others that nothing more is needed, and end: all three call it last."""
        self._take({"do": "end"})
        self.close()

    def close(self) -> None:
        """End the worker, whatever it does; the two others are told by that. May be called by another thread."""
        self._link.end()

    def _take(self, step: dict[str, Any], *, values: bytes = b"", kind: str = "<f4") -> bytes:
        # How the owner's numbers reach its worker is nobody else's matter.
        order = {
            "binding": sha256(self._binding + len(self._steps).to_bytes(8, "big")).digest(),
            "kind": kind,
            "step": step,
            "values": values,
            "wait_ms": 0,
        }
        with self._ended_if_broken():
            reply = self._link.answer_to(order, timeout_s=2 * self._timeout_s)
        self._steps.append(reply.step)
        return reply.opened

    @contextmanager
    def _ended_if_broken(self) -> Generator[None]:
        try:
            yield
        except ShuiqiaoError:
            self.close()
            raise
