"""Fair-use ceilings: the most that a consent may ask for each purpose: one table, and what members voted since.

Rule: docs/spec/consent-exchange.md [CONSENT-8], [CONSENT-30]: the smallest set that serves the purpose, and nothing
beyond it even if an enterprise would sign it. The numbers change by vote (``members.action.SetCeiling``), for all or
for one bank, product or record type; the most specific rule that fits is the one that counts. The longest validity is
also a ledger rule. Types, groups and modes are those of the table.
Guarantees: a record type, group, mode or purpose that the table does not name is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.consent.model import WINDOW_DAYS, ConsentArtefact, Fetch, Mode, Purpose
from shuiqiao.members.action import CEILING_BOUNDS, ceiling_key
from shuiqiao.standards.model import CORE_GROUP

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView

_MONTHS_PER_YEAR = 12
_DAYS_PER_YEAR = 365

_FACTS = frozenset({CORE_GROUP, "amounts"})
_PARTNERS = _FACTS | {"counterparty"}
_PERSON = _FACTS | {"person"}

_TAX_FACTS: Mapping[str, frozenset[str]] = dict.fromkeys(
    (
        "registration", "change", "tax_credit_grade", "filing", "payment", "arrears", "violation", "audit_case",
        "vat_return_general", "vat_return_small", "cit_return", "balance_sheet", "income_statement", "cash_flow",
        "invoice_issued", "invoice_received", "red_letter_confirmation",
    ),
    _FACTS,
)  # fmt: skip
_WITH_PARTNERS = dict.fromkeys(("invoice_issued", "invoice_received", "red_letter_confirmation"), _PARTNERS)
_WITH_PERSON = dict.fromkeys(("registration", "shareholder"), _PERSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most that one purpose may ask.

    groups: record type id (without version) to the disclosure groups allowed.
    max_answers_per_year: the artefact's frequency, scaled to 365 days, may not exceed it.
    """

    groups: Mapping[str, frozenset[str]]
    modes: frozenset[Mode]
    max_period_months: int
    max_answers_per_year: int
    max_data_life_days: int
    max_validity_days: int

    @property
    def max_validity_ms(self) -> int:
        """The longest validity of a consent, in milliseconds."""
        return self.max_validity_days * MS_PER_DAY


CEILINGS: Mapping[Purpose, Ceiling] = {
    # A loan file is judged on up to five tax years, a few times, while the application is open.
    Purpose.UNDERWRITING: Ceiling(
        groups={**_TAX_FACTS, **_WITH_PARTNERS, **_WITH_PERSON},
        modes=frozenset({Mode.DISCLOSE, Mode.PROVE, Mode.SCORE, Mode.EXPOSURE}),
        max_period_months=60,
        max_answers_per_year=150,
        max_data_life_days=365,
        max_validity_days=180,
    ),
    # A running loan is watched monthly over two years of facts; who the partners are is no part of a trigger.
    Purpose.LOAN_MONITORING: Ceiling(
        groups={**_TAX_FACTS, **dict.fromkeys(("shareholder",), _FACTS)},
        modes=frozenset({Mode.DISCLOSE, Mode.PROVE, Mode.SCORE, Mode.EXPOSURE}),
        max_period_months=24,
        max_answers_per_year=52,
        max_data_life_days=365,
        max_validity_days=1100,
    ),
    # A model is fitted on many taxpayers and needs neither partners nor persons.
    Purpose.MODEL_DEVELOPMENT: Ceiling(
        groups=_TAX_FACTS,
        modes=frozenset({Mode.DISCLOSE, Mode.TRAIN}),
        max_period_months=60,
        max_answers_per_year=4,
        max_data_life_days=730,
        max_validity_days=365,
    ),
    # One look, soon, and soon forgotten.
    Purpose.ONE_TIME: Ceiling(
        groups=_TAX_FACTS,
        modes=frozenset({Mode.DISCLOSE, Mode.PROVE}),
        max_period_months=24,
        max_answers_per_year=1,
        max_data_life_days=30,
        max_validity_days=30,
    ),
}


def ceiling_of(artefact: ConsentArtefact, state: StateView) -> Ceiling:
    """Return what counts for an artefact now: of each of its record types the most specific rule, of these the least.

    ::

        verify_within_ceiling(artefact, ceiling=ceiling_of(artefact, submitter.state()))
    """
    base, rules = CEILINGS[artefact.purpose], _rules(state, artefact.purpose, recipient=artefact.recipient)
    if not rules:
        return base
    types = sorted({type_id.partition("@")[0] for type_id in artefact.items})
    found = [
        max((rule for rule in rules if _is_about(rule, artefact.product, name)), key=_specificity, default=None)
        for name in types
    ]
    bounds = [{name: getattr(base, name) if rule is None else rule[name] for name in CEILING_BOUNDS} for rule in found]
    return replace(base, **{name: min(each[name] for each in bounds) for name in CEILING_BOUNDS})


def longest_validity_ms(state: StateView, purpose: Purpose, *, recipient: str) -> int:
    """Return the longest validity that the ledger takes: it knows a consent's bank, and not its product and types.

    So it takes what any product or type could have; the bureau holds the consent against its own [CONSENT-15].
    """
    rules = _rules(state, purpose, recipient=recipient)
    general = max((rule for rule in rules if _is_about(rule, "", "")), key=_specificity, default=None)
    least = -1 if general is None else _specificity(general)
    days: list[int] = [rule["max_validity_days"] for rule in rules if _specificity(rule) >= least]
    if general is None:
        days.append(CEILINGS[purpose].max_validity_days)
    return max(days) * MS_PER_DAY


def _rules(state: StateView, purpose: Purpose, *, recipient: str) -> list[dict[str, Any]]:
    voted: list[dict[str, Any]] = state.get(ceiling_key(purpose)) or []
    return [rule for rule in voted if rule["recipient"] in {"", recipient}]


def _is_about(rule: Mapping[str, Any], product: str, record_type: str) -> bool:
    return rule["product"] in {"", product} and rule["record_type"] in {"", record_type}


def _specificity(rule: Mapping[str, Any]) -> int:
    """Return how much a rule names: a bank counts more than a product, a product more than a record type."""
    return 4 * bool(rule["recipient"]) + 2 * bool(rule["product"]) + bool(rule["record_type"])


def verify_within_ceiling(artefact: ConsentArtefact, *, ceiling: Ceiling) -> None:
    """Return if an artefact asks no more than a ceiling allows; else raise Denied ``consent.ceiling_exceeded``."""
    frequency = artefact.frequency
    is_once = artefact.fetch is Fetch.ONE_TIME
    answers_per_year = 1 if is_once else frequency.count * _DAYS_PER_YEAR // WINDOW_DAYS[frequency.unit]
    months = period_months(artefact.period_from, artefact.period_to)
    verify_items_within(artefact.items, purpose=artefact.purpose)
    for mode in artefact.modes:
        verify_mode_within(mode, purpose=artefact.purpose)
    _expect_at_most(months, ceiling.max_period_months, "months of data", artefact.purpose)
    _expect_at_most(answers_per_year, ceiling.max_answers_per_year, "answers a year", artefact.purpose)
    _expect_at_most(artefact.data_life_days, ceiling.max_data_life_days, "days of data life", artefact.purpose)
    validity_ms = artefact.valid_to_ms - artefact.valid_from_ms
    _expect_at_most(validity_ms, ceiling.max_validity_ms, "milliseconds of validity", artefact.purpose)


def verify_items_within(items: Mapping[str, list[str]], *, purpose: Purpose) -> None:
    """Return if every type and group is one the purpose allows; else raise Denied ``consent.ceiling_exceeded``."""
    groups = CEILINGS[purpose].groups
    for type_id, asked in items.items():
        greedy = sorted(set(asked) - groups.get(type_id.partition("@")[0], frozenset()))
        if greedy:
            raise _exceeded(f"{purpose} does not allow {', '.join(greedy)} of {type_id}")


def verify_mode_within(mode: Mode, *, purpose: Purpose) -> None:
    """Return if the purpose allows the mode; else raise Denied ``consent.ceiling_exceeded``."""
    if mode not in CEILINGS[purpose].modes:
        raise _exceeded(f"{purpose} does not allow the mode {mode}")


def verify_period_within(period_from: date, period_to: date, *, purpose: Purpose, ceiling: Ceiling) -> None:
    """Return if a period is no longer than a ceiling allows; else raise Denied ``consent.ceiling_exceeded``."""
    months = period_months(period_from, period_to)
    _expect_at_most(months, ceiling.max_period_months, "months of data", purpose)


def longest_period(purpose: Purpose, *, last: date) -> tuple[date, date]:
    """Return the longest period that a purpose allows: whole calendar months, up to and with a day."""
    first = last.year * _MONTHS_PER_YEAR + last.month - CEILINGS[purpose].max_period_months
    year, month = divmod(first, _MONTHS_PER_YEAR)
    return date(year, month + 1, 1), last


def period_months(period_from: date, period_to: date) -> int:
    """Return how many calendar months a period touches; raises InvalidInput ``consent.period_reversed``."""
    if period_to < period_from:
        raise InvalidInput("consent.period_reversed", f"the period ends on {period_to}, before {period_from}")
    years = period_to.year - period_from.year
    return years * _MONTHS_PER_YEAR + period_to.month - period_from.month + 1


def _expect_at_most(asked: int, most: int, what: str, purpose: Purpose) -> None:
    if asked > most:
        raise _exceeded(f"{asked} {what} where {purpose} allows {most}")


def _exceeded(message: str) -> Denied:
    return Denied("consent.ceiling_exceeded", message)
