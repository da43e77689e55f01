"""Runs a bank's encrypted weights where the records are, and opens what came back where the key is.

Rule: docs/spec/blind.md [BLIND-9] to [BLIND-11]. At the bureau: the declared features, the indicators that hold, one
taxpayer in the first slot, a result that only the bank can open. At the bank: the key and the card that it kept when it
encrypted; points, and from them band and yes or no, which nobody else learns.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.consent.model import Output
from shuiqiao.credit.blind_content import BlindContent, decode_blind, points_in
from shuiqiao.credit.indicators import unseen_row
from shuiqiao.credit.model_content import MAX_POINTS_VALUES, decode_content
from shuiqiao.credit.model_runner import inputs_of, score_of
from shuiqiao.exchange.modes.score import ModelRunner, ScoreOutput, Session
from shuiqiao.privacy.blind.scheme import LoadedWeights, blind_scheme
from shuiqiao.privacy.model import Revealed, millibits_of

if TYPE_CHECKING:
    import pyarrow as pa

    from shuiqiao.base.ids import Entropy
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCard, ClosedCardStore

MAX_LOADED = 4
"""Models whose weights are kept ready: about 50 MB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    digest: bytes
    content: BlindContent
    weights: LoadedWeights


class BlindRunner(ModelRunner):
    """Evaluates encrypted weights, and opens results; any number of threads may ask.

    Example::

        runner = BlindRunner(features=ScorecardRunner(), cards=ClosedCardStore(engine, cipher=cipher), entropy=entropy)
        output = runner.run(content, outputs=[Output.POINTS], tables=tables, taxpayer=uscc, as_of=last_day)
        runner.opened(content, output).points
    """

    def __init__(self, *, features: ScorecardRunner, cards: ClosedCardStore, entropy: Entropy) -> None:
        """features: computes them. cards: of what this institution encrypted itself, none at a bureau."""
        self._features = features
        self._cards = cards
        self._entropy = entropy
        self._lock = threading.Lock()
        self._ready: OrderedDict[bytes, _Loaded] = OrderedDict()

    def inputs(self, content: bytes) -> Mapping[str, Sequence[str]]:
        """Return what the indicators' features need; raises InvalidInput as ``decode_blind``."""
        return inputs_of(self._content(content).feature_names)

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
        values = self._features.values(loaded.content.feature_names, tables=tables, taxpayer=taxpayer, as_of=as_of)
        holds = loaded.content.indicators_of(values)
        return ScoreOutput(ciphertext=blind_scheme().evaluate(loaded.weights, holds, entropy=self._entropy))

    def reveals(
        self, content: bytes, *, outputs: Collection[Output], since: date, as_of: date, session: Session | None = None
    ) -> Revealed:
        """Return 12 bits, a sum of its own for each distinct ciphertext and day [BLIND-11], and the cuts [LEAK-7]."""
        del outputs, session
        digest = hashlib.sha256(content).hexdigest()
        row = unseen_row(self._content(content).features, since=since, as_of=as_of)
        row[f"ciphertext {digest}@{since}/{as_of}"] = 1
        return Revealed(millibits=millibits_of(MAX_POINTS_VALUES), row=row)

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

    def card(self, content: bytes) -> bytes:
        """Return the card that was encrypted; raises Denied ``credit.blind_key_missing``."""
        return self._kept(content).card

    def _kept(self, content: bytes) -> ClosedCard:
        kept = self._cards.find(hashlib.sha256(content).digest())
        if kept is None:
            raise Denied("credit.blind_key_missing", "the key of these encrypted weights is not here")
        return kept

    def _content(self, data: bytes) -> BlindContent:
        ready = self._ready.get(hashlib.sha256(data).digest())
        return decode_blind(data) if ready is None else ready.content

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
