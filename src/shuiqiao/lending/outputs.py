"""What a product asks a provider for under a consent: the records granted, or outputs of the bank's models.

Rule: docs/spec/lending.md [LENDING-11], [LENDING-15]. A consent that cannot carry what a product asks is refused before
anything is on the ledger, in words that say what to consent to. What outputs show is ``output_assessment``'s matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.consent.model import Fetch, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from shuiqiao.base.ids import OwnedId
    from shuiqiao.consent.model import ConsentArtefact, Output
    from shuiqiao.exchange.model import DataRequest
    from shuiqiao.exchange.recipient import Recipient
    from shuiqiao.lending.model import Product, ScoreRules


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreNeeds:
    """What a consent has to grant so that a product in the mode *score* can be decided on.

    items: record type to groups that the models read. answers: how many are asked for.
    """

    outputs: tuple[Output, ...]
    items: Mapping[str, tuple[str, ...]]
    answers: int

    def words(self) -> str:
        """Say it as the command that signs it."""
        items = " ".join(f"--item {name}={','.join(groups)}" for name, groups in self.items.items())
        outputs = " ".join(f"--output {output}" for output in self.outputs)
        return f"--mode score {outputs} {items} with {self.answers} answers or more"

    def lacking(self, artefact: ConsentArtefact) -> str:
        """Name what a consent does not grant of it, or nothing."""
        lacks = [] if Mode.SCORE in artefact.modes else ["the mode score"]
        lacks += [f"the output {output}" for output in self.outputs if output not in (artefact.outputs or ())]
        lacks += [
            f"{group} of {name}"
            for name, groups in self.items.items()
            for group in groups
            if group not in artefact.items.get(name, ())
        ]
        answers = 1 if artefact.fetch is Fetch.ONE_TIME else artefact.frequency.count
        lacks += [] if answers >= self.answers else [f"{self.answers} answers"]
        return ", ".join(lacks)


def score_needs(rules: ScoreRules, *, recipient: Recipient) -> ScoreNeeds:
    """Return what a product asks a consent for; raises what ``Recipient.model_inputs`` raises."""
    items: dict[str, set[str]] = {}
    for model in {ask.model for ask in rules.asks}:
        for name, groups in recipient.model_inputs(model).items():
            items.setdefault(name, set()).update(groups)
    return ScoreNeeds(
        outputs=tuple(sorted({ask.output for ask in rules.asks})),
        items={name: tuple(sorted(items[name])) for name in sorted(items)},
        answers=len(rules.asks),
    )


def requests_for(
    product: Product, *, consent: OwnedId, recipient: Recipient, today: date
) -> tuple[tuple[str, DataRequest], ...]:
    """Return what to ask for a product under a consent on file, each with the name that its request's id follows from.

    On records that is one request without a name, for exactly what is granted.

    Raises Denied ``lending.model_missing``, ``lending.consent_too_narrow``, ``lending.data_too_old``, what
    ``Recipient.granted`` and ``Recipient.scoring`` raise::

        for name, wanted in requests_for(product, consent=consent, recipient=bank.recipient, today=bank.today()):
            sent = bank.recipient.request(wanted, request=file.request_id(suite, name))
    """
    rules = product.score
    if rules is None:
        return (("", recipient.granted(consent)),)
    if not rules.asks:
        raise Denied("lending.model_missing", f"no models were chosen to decide for {product.id}")
    artefact, needs = recipient.artefact(consent), score_needs(rules, recipient=recipient)
    if lacking := needs.lacking(artefact):
        raise Denied(
            "lending.consent_too_narrow",
            f"consent {consent} does not grant {lacking}; {product.id} needs one by {needs.words()}",
        )
    if (days := (today - artefact.period_to).days) > rules.max_days_old:
        raise Denied(
            "lending.data_too_old",
            f"consent {consent} covers data to {artefact.period_to}, {days} days ago, where {product.id} takes "
            f"{rules.max_days_old}",
        )
    return tuple((ask.name, recipient.scoring(consent, ask.model, outputs=[ask.output])) for ask in rules.asks)
