"""Three parties of joint training here, each with a worker process as between servers: for study and tests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self, TypeVar

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.privacy.secure.joint import BANK, BUREAU, THIRD, JointSession

BINDING: Final = bytes(range(32))
_STEP_S: Final = 120.0

Result = TypeVar("Result")


class JointTrio:
    """The parts of bank, bureau and third party, in the order of their ranks.

    Example::

        with JointTrio().open() as trio:
            bank, bureau, third = trio.results(lambda session: train_jointly(session, plan, **inputs[session.rank]))
    """

    def __init__(self, *, timeout_s: float = _STEP_S) -> None:
        """Begin all three; raises as ``JointSession.begin``. timeout_s: of the opening and of a step."""
        self.parties: list[JointSession] = []
        try:
            self.parties.append(JointSession.begin(BANK, timeout_s=timeout_s))
            session = self.parties[0].offer.session
            for rank in (BUREAU, THIRD):
                self.parties.append(
                    JointSession.begin(rank, session=session, listen="127.0.0.1:0", timeout_s=timeout_s)
                )
        except BaseException:
            self.close()
            raise

    def open(self, *, binding: bytes = BINDING) -> Self:
        """Link the three up; raises what ``JointSession.connect`` raises, and closes all."""

        def connect(party: JointSession) -> None:
            others = {other.rank: other.offer for other in self.parties if other is not party}
            party.connect(others, binding=binding)

        self.results(connect)
        return self

    def each(self, act: Callable[[JointSession], Result]) -> list[Result | ShuiqiaoError]:
        """Return what all three did at the same time, by rank, or what was raised there."""

        def tried(party: JointSession) -> Result | ShuiqiaoError:
            try:
                return act(party)
            except ShuiqiaoError as error:
                return error

        with ThreadPoolExecutor(len(self.parties)) as pool:
            return list(pool.map(tried, self.parties))

    def results(self, act: Callable[[JointSession], Result]) -> list[Result]:
        """Return what all three did at the same time, by rank; closes all and raises what the first of them raised."""
        found: list[Result] = []
        for each in self.each(act):
            if isinstance(each, ShuiqiaoError):
                self.close()
                raise each
            found.append(each)
        return found

    def close(self) -> None:
        """End all three workers."""
        for party in self.parties:
            party.close()

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """Close."""
        self.close()
