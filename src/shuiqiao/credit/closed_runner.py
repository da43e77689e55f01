"""What the runners of models have in common whose weights a provider never sees.

Such a content names the features and cuts that are read, and no points. The card behind it stays with its owner, kept
by the SHA-256 of the content; a provider has none. What a run reveals is not seen from the content, so it counts as a
sum of its own over the features that it may have asked [LEAK-7].
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from shuiqiao.credit.indicators import indicators_of, unseen_row
from shuiqiao.credit.model_runner import inputs_of
from shuiqiao.exchange.modes.score import ModelRunner
from shuiqiao.privacy.model import Revealed, millibits_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from shuiqiao.credit.indicators import BinnedFeature
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCard, ClosedCardStore


class ClosedContent(Protocol):
    """What a content without points says."""

    @property
    def features(self) -> tuple[BinnedFeature, ...]:
        """The features that it reads with their cuts, in order."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Their names."""
        ...


class ClosedRunner(ModelRunner):
    """The part of a runner that does not depend on how its weights are hidden."""

    def __init__(self, *, features: ScorecardRunner, cards: ClosedCardStore) -> None:
        """features: computes them. cards: of models that this institution closed itself, none at a bureau."""
        self._features = features
        self._cards = cards

    def inputs(self, content: bytes) -> Mapping[str, Sequence[str]]:
        """Return what the indicators' features need; raises InvalidInput as the content's reader."""
        return inputs_of(self._read(content).feature_names)

    def card(self, content: bytes) -> bytes:
        """Return the card behind a content; raises Denied where it is not kept here."""
        return self._kept(content).card

    @abstractmethod
    def _read(self, content: bytes) -> ClosedContent:
        """Decode a content; raises InvalidInput."""

    @abstractmethod
    def _kept(self, content: bytes) -> ClosedCard:
        """Return the card behind a content; raises Denied where it is not kept here."""

    def _indicators(
        self, model: ClosedContent, *, tables: Mapping[str, pa.Table], taxpayer: str, as_of: date
    ) -> npt.NDArray[np.bool_]:
        """Return which indicators hold of a taxpayer, indicators x 1."""
        values = self._features.values(model.feature_names, tables=tables, taxpayer=taxpayer, as_of=as_of)
        return indicators_of(model.features, values)

    def _unseen(self, model: ClosedContent, *, own: str, values: int, since: date, as_of: date) -> Revealed:
        """Return the bits of one of so many values, a sum by a name of its own, and the cuts [LEAK-7]."""
        row = unseen_row(model.features, since=since, as_of=as_of)
        row[own] = 1
        return Revealed(millibits=millibits_of(values), row=row)
