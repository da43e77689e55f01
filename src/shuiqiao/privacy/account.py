"""The leakage account: what one recipient, and all of them together, may know of a taxpayer by what was computed.

Rule: docs/spec/leakage.md. Two banks may put together what they know, and one bank what it learned by many models,
versions, modes and consents: so it is counted over all of them, and judged before anything is computed. Pure: the
charges before are handed in, the store keeps them.

LIMIT: each provider keeps its own account; that two bureaus hold data of one taxpayer is not seen. LIMIT: the budgets
of two purposes add up for a recipient that has consents for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from shuiqiao.base.errors import Denied
from shuiqiao.privacy.budgets import BUDGETS
from shuiqiao.privacy.model import MILLI, Account, AccountLine, BudgetUse, Charge
from shuiqiao.privacy.rank import rank_of


def verify_within(charge: Charge, *, past: Sequence[Charge]) -> None:
    """Return if one charge more is within the budgets of its purpose [LEAK-4].

    past: what the taxpayer's account holds of the last 365 days, this reference left out. Raises Denied
    ``privacy.budget_exceeded``, in words for whoever asked and for whoever it is about.
    """
    if not charge.is_budgeted:
        return
    for use in _uses(charge, [*past, charge]):
        if use.millibits > use.most_millibits or use.rank > use.most_rank:
            who = "all recipients together" if use.recipient is None else use.recipient
            raise Denied(
                "privacy.budget_exceeded",
                f"with this answer {who} would know {bits_text(use.millibits)} bits and {use.rank} independent sums of "
                f"this taxpayer's data within 365 days; {use.purpose or 'credentials'} allow at most "
                f"{bits_text(use.most_millibits)} bits and {use.most_rank} sums",
            )


def bits_text(millibits: int) -> str:
    """Return thousandths of a bit as bits, ``7.585``."""
    return f"{millibits // MILLI}.{millibits % MILLI:03d}"


def account_of(charges: Sequence[Charge]) -> Account:
    """Return what charges of one taxpayer come to: a line for each recipient, purpose and mode, and the budgets."""

    def place(charge: Charge) -> tuple[str, str, str]:
        return charge.recipient or "", charge.purpose or "", charge.mode or ""

    lines = [_line(list(group)) for _, group in groupby(sorted(charges, key=place), key=place)]
    asked = {(charge.recipient, charge.purpose): charge for charge in charges if charge.is_budgeted}
    uses = {(use.recipient, use.purpose): use for charge in asked.values() for use in _uses(charge, charges)}
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
        rank=_rank(charges),
    )


def _uses(charge: Charge, charges: Iterable[Charge]) -> list[BudgetUse]:
    """Return how the budgets that a charge counts against stand. A credential counts against every recipient."""
    counted = [each for each in charges if each.is_budgeted and each.purpose in {charge.purpose, None}]
    mine = [each for each in counted if each.recipient in {charge.recipient, None}]
    budget = BUDGETS[charge.purpose]
    uses = [_use(charge, None, counted, most_bits=budget.all_bits, most_rank=budget.all_rank)]
    if charge.recipient is not None:
        uses.append(_use(charge, charge.recipient, mine, most_bits=budget.bits, most_rank=budget.rank))
    return uses


def _use(charge: Charge, recipient: object, charges: Sequence[Charge], *, most_bits: int, most_rank: int) -> BudgetUse:
    return BudgetUse(
        recipient=None if recipient is None else charge.recipient,
        purpose=charge.purpose,
        millibits=sum(each.revealed.millibits for each in charges),
        most_millibits=most_bits * MILLI,
        rank=_rank(charges),
        most_rank=most_rank,
    )


def _rank(charges: Iterable[Charge]) -> int:
    return rank_of(each.revealed.row for each in charges if each.revealed.row is not None)
