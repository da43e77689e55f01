"""Runs a bank's encrypted weights where the records are, and opens what came back where the key is.

Rule: docs/spec/blind.md [BLIND-9] to [BLIND-11]. At the bureau: the declared features, the indicators that hold, one
taxpayer in the first slot, a result that only the bank can open. At the bank: the key and the card that it kept when it
encrypted; points, and from them band and yes or no, which nobody else learns.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.consent.model import Output
from shuiqiao.credit.blind_content import BlindContent, decode_blind, points_in
from shuiqiao.credit.closed_runner import ClosedRunner
from shuiqiao.credit.model_content import MAX_POINTS_VALUES, decode_content
from shuiqiao.credit.model_runner import score_of
from shuiqiao.exchange.modes.score import ScoreOutput, Session
from shuiqiao.privacy.blind.scheme import LoadedWeights, blind_scheme

if TYPE_CHECKING:
    import pyarrow as pa

    from shuiqiao.base.ids import Entropy
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCard, ClosedCardStore
    from shuiqiao.privacy.model import Revealed

MAX_LOADED = 4
"""Models whose weights are kept ready: about 50 MB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    digest: bytes
    content: BlindContent
    weights: LoadedWeights


class BlindRunner(ClosedRunner):
    """Evaluates encrypted weights, and opens results; any number of threads may ask.

    Example::

        runner = BlindRunner(features=ScorecardRunner(), cards=ClosedCardStore(engine, cipher=cipher), entropy=entropy)
        output = runner.run(content, outputs=[Output.POINTS], tables=tables, taxpayer=uscc, as_of=last_day)
        runner.opened(content, output).points
    """

    def __init__(self, *, features: ScorecardRunner, cards: ClosedCardStore, entropy: Entropy) -> None:
        """As ``ClosedRunner``. entropy: of the noise that covers a result."""
        super().__init__(features=features, cards=cards)
        self._entropy = entropy
        self._lock = threading.Lock()
        self._ready: OrderedDict[bytes, _Loaded] = OrderedDict()

    def run(
        self,
        content: bytes,
        *,
        outputs: Collection[Output],
        tables: Mapping[str, pa.Table],
        taxpayer: str,
        as_of: date,
        session: Session | None = None,
    ) -> ScoreOutput:
        """Return the encrypted points of a taxpayer; nothing else is given, whatever is asked.

        Raises what ``blind_scheme`` and ``BlindScheme.read_weights`` raise.
        """
        del outputs, session  # A model of encrypted weights declares points alone.
        loaded = self._loaded(content)
        holds = self._indicators(loaded.content, tables=tables, taxpayer=taxpayer, as_of=as_of)
        return ScoreOutput(ciphertext=blind_scheme().evaluate(loaded.weights, holds, entropy=self._entropy))

    def reveals(
        self, content: bytes, *, outputs: Collection[Output], since: date, as_of: date, session: Session | None = None
    ) -> Revealed:
        """Return 12 bits, a sum of its own for each distinct ciphertext and day [BLIND-11], and the cuts [LEAK-7]."""
        del outputs, session
        own = f"ciphertext {hashlib.sha256(content).hexdigest()}@{since}/{as_of}"
        return self._unseen(self._read(content), own=own, values=MAX_POINTS_VALUES, since=since, as_of=as_of)

    def opened(self, content: bytes, output: ScoreOutput, *, session: Session | None = None) -> ScoreOutput:
        """Return points, band and yes or no of a result, as the bank's own card has them [BLIND-10].

        Raises Denied ``credit.blind_key_missing``, IntegrityError ``exchange.output_wrong``, what
        ``BlindScheme.decrypt`` raises.
        """
        del session
        kept = self._kept(content)
        model = decode_content(kept.card)
        found = blind_scheme().decrypt(output.ciphertext or b"", secret=kept.secret, count=1)
        return score_of(model, points=points_in(model.card, float(found[0])))

    def _kept(self, content: bytes) -> ClosedCard:
        kept = self._cards.find(content)
        if kept is None:
            raise Denied("credit.blind_key_missing", "the key of these encrypted weights is not here")
        return kept

    def _read(self, content: bytes) -> BlindContent:
        ready = self._ready.get(hashlib.sha256(content).digest())
        return decode_blind(content) if ready is None else ready.content

    def _loaded(self, data: bytes) -> _Loaded:
        digest = hashlib.sha256(data).digest()
        with self._lock:
            found = self._ready.pop(digest, None)
            if found is None:
                content = decode_blind(data)
                weights = blind_scheme().read_weights(content.weights, public=content.public)
                found = _Loaded(digest=digest, content=content, weights=weights)
            self._ready[digest] = found
            if len(self._ready) > MAX_LOADED:
                self._ready.popitem(last=False)
            return found
