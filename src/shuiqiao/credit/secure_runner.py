"""Runs a bank's model together with the bank: indicators from here, weights from there, neither side sees the other's.

Rule: docs/spec/secure.md [SECURE-12] to [SECURE-15]. At the bureau: the declared features, the indicators that hold,
its half of one run, and its share of the result, which goes into the answer. At the bank: the card that it kept, its
half of that run beside the request, and both shares put together. The bank opens the link between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied, IntegrityError
from shuiqiao.consent.model import Output
from shuiqiao.credit.closed_runner import ClosedRunner
from shuiqiao.credit.computations import FinishedRun
from shuiqiao.credit.model_content import ModelContent
from shuiqiao.credit.model_runner import decode_kept_content
from shuiqiao.credit.secure_content import SecureContent, bank_values, decode_secure, output_in
from shuiqiao.exchange.modes.port import Half
from shuiqiao.exchange.modes.score import ResultShare, ScoreOutput, Session

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from shuiqiao.base.ids import MemberId
    from shuiqiao.credit.computations import ComputationFile
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCard, ClosedCardStore
    from shuiqiao.privacy.model import Revealed
    from shuiqiao.privacy.secure.links import SecureLinks
    from shuiqiao.privacy.secure.model import SecureFunction

UNTIL_BEGUN_S = 120.0
"""How long a bureau may take before it computes: it checks the request and reads its records first."""

_decode_kept = lru_cache(maxsize=64)(decode_secure)


class SecureRunner(ClosedRunner):
    """Does one half of secure runs, and puts shares together; any number of threads may ask.

    Example::

        runner = SecureRunner(
            features=ScorecardRunner(), cards=cards, links=links, open_link=open_link, computations=file
        )
        half = runner.half(content, outputs=[Output.BAND], session=session)
        with half.way():
            share = half.run()
    """

    def __init__(
        self,
        *,
        features: ScorecardRunner,
        cards: ClosedCardStore,
        links: SecureLinks,
        open_link: Callable[[MemberId], None],
        computations: ComputationFile,
    ) -> None:
        """As ``ClosedRunner``. open_link: opens the one to a bureau, where none is.

        computations: where this party's log of each run is kept.
        """
        super().__init__(features=features, cards=cards)
        self._links = links
        self._computations = computations
        self._open_link = open_link

    def run(
        self,
        content: bytes,
        *,
        outputs: Collection[Output],
        tables: Mapping[str, pa.Table],
        taxpayer: str,
        as_of: date,
        session: Session,
    ) -> ScoreOutput:
        """Return this bureau's share of the one output asked for, computed together with the bank that asks.

        Raises what ``SecureLinks.run`` raises.
        """
        model, (output,) = _decode_kept(content), outputs
        holds = [int(each) for each in self._indicators(model, tables=tables, taxpayer=taxpayer, as_of=as_of)[:, 0]]
        share = self._run(session, model.function(output), holds)
        return ScoreOutput(shared=ResultShare(output=output, share=share))

    def half(self, content: bytes, *, outputs: Collection[Output], session: Session) -> Half:
        """Return this bank's half of a run; raises Denied ``credit.secure_card_missing``."""
        (output,) = outputs
        function, values = _decode_kept(content).function(output), bank_values(self._card(content), output)

        @contextmanager
        def way() -> Generator[None]:
            with self._links.turn(session.peer):
                if not self._links.is_open(session.peer):
                    self._open_link(session.peer)
                yield

        return Half(
            way=way,
            run=lambda: self._run(session, function, values, wait_s=UNTIL_BEGUN_S),
            give_up=lambda: self._links.give_up(session.peer),
        )

    def reveals(
        self, content: bytes, *, outputs: Collection[Output], since: date, as_of: date, session: Session
    ) -> Revealed:
        """Return the bits of the output, a sum of its own for each request [SECURE-15], and the cuts [LEAK-7]."""
        model, (output,) = _decode_kept(content), outputs
        own, values = f"secure {session.binding.hex()}", model.outputs[output].values
        return self._unseen(model, own=own, values=values, since=since, as_of=as_of)

    def opened(self, content: bytes, output: ScoreOutput, *, session: Session) -> ScoreOutput:
        """Return what both shares say together [SECURE-14].

        Raises Denied ``credit.secure_card_missing``, ``exchange.share_missing``; IntegrityError
        ``exchange.output_wrong``, ``privacy.secure_failed``.
        """
        shared = output.shared
        if shared is None or output != ScoreOutput(shared=shared):
            raise IntegrityError(
                "exchange.output_wrong", "the model cannot give this: it gives a share and nothing else"
            )
        if session.share is None:
            raise Denied("exchange.share_missing", "this bank does not have its own half of the result")
        found = _decode_kept(content).function(shared.output).combine(session.share, shared.share)
        return output_in(self._card(content), shared.output, found=found)

    def _read(self, content: bytes) -> SecureContent:
        return _decode_kept(content)

    def _kept(self, content: bytes) -> ClosedCard:
        kept = self._cards.find(content)
        if kept is None:
            raise Denied("credit.secure_card_missing", "the card of this model is not here")
        return kept

    def _run(self, session: Session, function: SecureFunction, numbers: list[int], *, wait_s: float = 0.0) -> bytes:
        """Do this party's half, and keep its log [SECURE-18]."""
        ends, began_ms = self._links.ends(session.peer), self._computations.now_ms()
        share = self._links.run(session.peer, function, numbers, binding=session.binding, wait_s=wait_s)
        run = FinishedRun(
            session=session,
            function=function,
            numbers=numbers,
            share=share,
            ends=ends,
            began_ms=began_ms,
        )
        self._computations.keep(run)
        return share

    def _card(self, content: bytes) -> ModelContent:
        return decode_kept_content(self.card(content))
