"""The leakage account: what one recipient, and all of them together, may know of a taxpayer by what was computed.

Rule: docs/spec/leakage.md. Two banks may put together what they know, and one bank what it learned by many models,
versions, modes and consents: so it is counted over all of them, and judged before anything is computed. Pure: the
charges before are handed in, the store keeps them.

LIMIT: each provider keeps its own account; that two bureaus hold data of one taxpayer is not seen. LIMIT: the budgets
of two purposes add up for a recipient that has consents for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Purpose
from shuiqiao.privacy.budgets import BUDGETS, Limits
from shuiqiao.privacy.model import MILLI, Account, AccountLine, BudgetUse, Charge, Row
from shuiqiao.privacy.rank import rank_of
from shuiqiao.privacy.resolution import feature_millibits


def verify_within(charge: Charge, *, past: Sequence[Charge]) -> None:
    """Return if one charge more is within the budgets of its purpose [LEAK-4], [LEAK-7].

    past: what the taxpayer's account holds of the last 365 days, oldest first, this reference left out. The same
    question again counts its bits again: nothing that is judged here depends on the records [LEAK-8]. Raises Denied
    ``privacy.budget_exceeded``, in words for whoever asked and for whoever it is about.
    """
    if not charge.is_budgeted:
        return
    charges = [*past, charge]
    for judged in _judged(charge, past):
        together, *each = _shares(judged, charges)
        # Where nobody else knows anything, the budget of each, which is no larger, says it all.
        is_alone = bool(each) and len(each[0].charges) == len(together.charges)
        for share in each if is_alone else (together, *each):
            if not share.is_within:
                raise _exceeded(share.use)


def _judged(charge: Charge, past: Sequence[Charge]) -> list[Charge]:
    """Return one charge for each budget to look at: a credential adds to what all were told before [LEAK-5]."""
    if charge.purpose is not None:
        return [charge]
    asked = {(each.recipient, each.purpose): each for each in past if each.is_budgeted and each.purpose is not None}
    return [charge, *asked.values()]


def _exceeded(use: BudgetUse) -> Denied:
    if use.recipient is None:
        # What the others were given is not for the one that asks: the enterprise and the regulator read the account.
        with_it = "with this answer all recipients together would know more of this taxpayer's data within 365 days"
        between = " than is allowed; "
    else:
        feature = f"{bits_text(use.feature_millibits)} bits of {use.feature or 'any one feature'}"
        with_it = (
            f"with this answer {use.recipient} would know {bits_text(use.millibits)} bits and {use.rank} independent "
            "sums of this taxpayer's data within 365 days"
        )
        between = f", {feature} by the cuts asked of it; "
    return Denied(
        "privacy.budget_exceeded",
        f"{with_it}{between}{use.purpose or 'credentials'} allow at most {bits_text(use.most_millibits)} bits, "
        f"{use.most_rank} sums and {bits_text(use.most_feature_millibits)} bits of one feature",
    )


def bits_text(millibits: int) -> str:
    """Return thousandths of a bit as bits, ``7.585``."""
    return f"{millibits // MILLI}.{millibits % MILLI:03d}"


def account_of(charges: Sequence[Charge]) -> Account:
    """Return what charges of one taxpayer, oldest first, come to: each recipient, purpose and mode, and the budgets."""

    def place(charge: Charge) -> tuple[str, str, str]:
        return charge.recipient or "", charge.purpose or "", charge.mode or ""

    lines = [_line(list(group)) for _, group in groupby(sorted(charges, key=place), key=place)]
    asked = {(charge.recipient, charge.purpose): charge for charge in charges if charge.is_budgeted}
    shares = (share for charge in asked.values() for share in _shares(charge, charges))
    uses = {(use.recipient, use.purpose): use for use in (share.use for share in shares)}
    return Account(
        lines=tuple(lines),
        budgets=tuple(uses[key] for key in sorted(uses, key=lambda key: (key[1] or "", key[0] or ""))),
    )


def _line(charges: Sequence[Charge]) -> AccountLine:
    first = charges[0]
    return AccountLine(
        recipient=first.recipient,
        purpose=first.purpose,
        mode=first.mode,
        answers=len(charges),
        fields=len(frozenset().union(*(charge.revealed.fields for charge in charges))),
        millibits=sum(charge.revealed.millibits for charge in charges),
        rank=rank_of(_rows(charges)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What counts against one budget: of one recipient, or (None) of all of them together."""

    recipient: MemberId | None
    purpose: Purpose | None
    charges: Sequence[Charge]
    limits: Limits

    @property
    def is_within(self) -> bool:
        # Of so many forms no more are independent: only of more than that is the rank worked out.
        rows = _rows(self.charges)
        return (
            self._millibits <= self.limits.bits * MILLI
            and (len(rows) <= self.limits.rank or rank_of(rows) <= self.limits.rank)
            and max(feature_millibits(rows).values(), default=0) <= self.limits.feature_bits * MILLI
        )

    @property
    def use(self) -> BudgetUse:
        rows = _rows(self.charges)
        placed = feature_millibits(rows)
        # The finest; of several the first by name.
        feature = min(placed, key=lambda name: (-placed[name], name), default=None)
        return BudgetUse(
            recipient=self.recipient,
            purpose=self.purpose,
            millibits=self._millibits,
            most_millibits=self.limits.bits * MILLI,
            rank=rank_of(rows),
            most_rank=self.limits.rank,
            feature=feature,
            feature_millibits=0 if feature is None else placed[feature],
            most_feature_millibits=self.limits.feature_bits * MILLI,
        )

    @property
    def _millibits(self) -> int:
        return sum(each.revealed.millibits for each in self.charges)


def _shares(charge: Charge, charges: Iterable[Charge]) -> list[_Share]:
    """Return what counts against the budgets of a charge. A credential counts against every recipient."""
    counted = [each for each in charges if each.is_budgeted and each.purpose in {charge.purpose, None}]
    budget = BUDGETS[charge.purpose]
    shares = [_Share(recipient=None, purpose=charge.purpose, charges=counted, limits=budget.together)]
    if charge.recipient is not None:
        mine = [each for each in counted if each.recipient in {charge.recipient, None}]
        shares.append(_Share(recipient=charge.recipient, purpose=charge.purpose, charges=mine, limits=budget.each))
    return shares


def _rows(charges: Iterable[Charge]) -> list[Row]:
    return [each.revealed.row for each in charges if each.revealed.row is not None]
