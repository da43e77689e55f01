"""A year's grade as a pure function of facts, events and rules: no clock, no file, no order of events [GRADE-3].

Rule: ``rules.toml``. Points begin by what is known, lose by each breach, get back by what was corrected, and give the
letter; some cases lead straight to D, some bar an A. ``repair_advice`` says what is left to correct. It issues nothing:
a grade is the tax side's word (``service``), and this is its working, or a check.

Guarantees: one more event never betters a grade, a correction never worsens one [GRADE-6]. A line that no confirmed
rule supports is marked, and no advice rests on it [GRADE-8].
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import zip_longest

from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.model import (
    CreditEvent,
    GradeAssessment,
    GradeFacts,
    Instalment,
    Line,
    LineKind,
    RepairAdvice,
    RepairOption,
)
from shuiqiao.tax_credit.rules import TENTHS, Per, Repair, Rule, RuleKind, RuleSet

MOST_TENTHS = 100 * TENTHS

MAX_ADVICE = 20
"""Corrections that are worked out each: those that give back the most. All of them are in ``after_repair``."""

_MONTHS = 12
_PERCENT = 100
_LETTERS = {"grade_a": Grade.A, "grade_b": Grade.B, "grade_c": Grade.C, "grade_d": Grade.D}


def assess_grade(facts: GradeFacts, rules: RuleSet) -> GradeAssessment:
    """Grade one taxpayer for one year; raises InvalidInput ``tax_credit.rule_unknown`` for an event of no rule.

    Example: ``assess_grade(facts, rules_in_force(facts.as_of)).letter``.
    """
    return _Grading(facts=facts, rules=rules).assessment()


def repair_advice(facts: GradeFacts, rules: RuleSet) -> tuple[RepairAdvice, ...]:
    """Return what can still be corrected, each with its last days and what it gives back; raises as ``assess_grade``.

    A direct D stands first, then what gives most. Only where the breach, and what its correction gives, are confirmed.
    """
    return _Grading(facts=facts, rules=rules).advice()


def after_repair(facts: GradeFacts, rules: RuleSet) -> GradeAssessment:
    """Grade as if everything that ``repair_advice`` names were corrected on the day of the grading."""
    named = {event for group in _Grading(facts=facts, rules=rules).open_groups() for event in group.waiting}
    return assess_grade(_corrected(facts, on=facts.as_of, only=named), rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Events that one deduction, or one direct D, is counted for."""

    rule: Rule
    events: tuple[CreditEvent, ...]

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(event.reference for event in self.events if event.reference))

    @property
    def since(self) -> date:
        return min(event.since for event in self.events)

    @property
    def waiting(self) -> list[CreditEvent]:
        return [event for event in self.events if event.corrected_on is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gain:
    """What a correction on a day gives back, by which rule, and until when the same holds."""

    by: date | None
    on: date
    step: Rule
    tenths: int


@dataclass(frozen=True, kw_only=True)
class _Grading:
    facts: GradeFacts
    rules: RuleSet

    def assessment(self) -> GradeAssessment:
        facts, held = self.facts, self._direct_d()
        if held:
            lines, years = held
            return self._told(Grade.D, None, lines, years=years, is_direct=True)
        points, lines = self._points()
        letter, decided = self._letter(points)
        if letter is Grade.D:
            return self._told(letter, points, [*lines, *decided], years=1)
        kept = self.rules.rules.get("d_by_points_kept")
        last = facts.previous
        is_after_d = last is not None and last.letter is Grade.D and not last.is_direct
        if kept and last and is_after_d and letter is not None and last.years < kept.years:
            return self._told(Grade.D, None, [*lines, _grade_line(kept)], years=last.years + 1)
        bars = [*self._bars()] if letter is Grade.A else []
        if bars:
            letter, decided = Grade.B, bars
        return self._told(letter, points, [*lines, *decided], reasons=bars)

    def _told(
        self,
        letter: Grade | None,
        points: int | None,
        lines: Sequence[Line],
        *,
        years: int = 0,
        is_direct: bool = False,
        reasons: Iterable[Line] = (),
    ) -> GradeAssessment:
        because = lines if letter is Grade.D else reasons
        return GradeAssessment(
            version=self.rules.version,
            letter=letter,
            points_tenths=points,
            lines=tuple(lines),
            reasons=tuple(dict.fromkeys(line.rule.id for line in because if line.kind is LineKind.GRADE)),
            is_direct_d=is_direct,
            years=years,
            unconfirmed=tuple(sorted({line.rule.id for line in lines if not line.rule.confirmed})),
        )

    # Events

    @cached_property
    def _known(self) -> list[tuple[Rule, CreditEvent]]:
        """The year's events that had happened by the day of the grading, in one order whatever the caller's is."""
        found = [(self.rules.event_rule(event.rule), event) for event in self.facts.events]
        known = [pair for pair in found if pair[1].since.year == self.facts.year and pair[1].since <= self.facts.as_of]
        return sorted(known, key=lambda pair: _rank(pair[1]))

    def _is_waived(self, rule: Rule, event: CreditEvent) -> bool:
        return event.is_first_offence and rule.kind is RuleKind.DEDUCTION and any(self.rules.of(RuleKind.WAIVER))

    def _groups(self, kind: RuleKind) -> Iterator[_Group]:
        groups: dict[tuple[object, ...], list[CreditEvent]] = {}
        for place, (rule, event) in enumerate(self._known):
            if rule.kind is not kind or self._is_waived(rule, event):
                continue
            bucket = {Per.TIME: place, Per.MONTH: event.since.month, Per.ONCE: 0}[rule.per]
            groups.setdefault((rule.id, bucket), []).append(event)
        for (name, _), events in groups.items():
            yield _Group(rule=self.rules.rules[str(name)], events=tuple(events))

    # Points

    def _points(self) -> tuple[int, list[Line]]:
        start = self._start()
        lines = [Line(kind=LineKind.POINTS, rule=start, tenths=start.tenths)]
        for waiver in self.rules.of(RuleKind.WAIVER):
            lines += [
                Line(kind=LineKind.NOT_COUNTED, rule=waiver, references=(event.reference,), since=event.since)
                for rule, event in self._known
                if self._is_waived(rule, event)
            ]
        for group in self._groups(RuleKind.DEDUCTION):
            lines += self._deducted(group)
        last = self.facts.previous
        for carry in self.rules.of(RuleKind.CARRY):
            if last is not None and last.letter is Grade.D and not last.is_direct:
                lines.append(Line(kind=LineKind.POINTS, rule=carry, tenths=-carry.tenths))
        lost = start.tenths - sum(line.tenths for line in lines)
        lines += self._bonus(lost)
        return max(0, min(sum(line.tenths for line in lines), MOST_TENTHS)), lines

    def _start(self) -> Rule:
        if self.facts.has_non_regular_indicators:
            return self.rules.rules["start_full"]
        plain = self.rules.rules["start_plain"]
        return self.rules.rules.get("start_fees_complete", plain) if self.facts.is_fee_information_complete else plain

    def _deducted(self, group: _Group) -> Iterator[Line]:
        back, step = self._given_back(group)
        for rule, tenths in ((group.rule, -group.rule.tenths), (step, back)):
            if rule is not None and tenths:
                yield Line(
                    kind=LineKind.POINTS, rule=rule, tenths=tenths, references=group.references, since=group.since
                )

    def _given_back(self, group: _Group) -> tuple[int, Rule | None]:
        """Return what a group gives back, by that of its events that gives least, and why [GRADE-4]."""
        if group.rule.repair is Repair.NONE:
            return 0, None
        return min((self._back(group.rule, event) for event in group.events), key=lambda found: found[0])

    def _back(self, rule: Rule, event: CreditEvent) -> tuple[int, Rule | None]:
        if rule.repair is Repair.GRADUAL and event.payments and event.amount_fen:
            return self._back_by_shares(rule, event)
        step = self._step_of(event, event.corrected_on)
        return (0, None) if step is None else (rule.tenths * self._percent(step, rule, event) // _PERCENT, step)

    def _back_by_shares(self, rule: Rule, event: CreditEvent) -> tuple[int, Rule | None]:
        """Weigh each part by what it was paid in time for; the day of correction stands for what the parts leave."""
        owed, weighted, last = event.amount_fen or 0, 0, None
        whole = Instalment(paid_on=event.corrected_on or date.max, paid_fen=owed)
        for part in sorted((*event.payments, whole)):
            step = self._step_of(event, part.paid_on)
            paid = min(part.paid_fen, owed)
            if step is not None and paid:
                owed, last = owed - paid, step
                weighted += paid * self._percent(step, rule, event)
        return rule.tenths * weighted // (_PERCENT * (event.amount_fen or 1)), last

    def _step_of(self, event: CreditEvent, corrected_on: date | None) -> Rule | None:
        if corrected_on is None or corrected_on > self.facts.as_of:
            return None
        return next((step for step in self.rules.of(RuleKind.STEP) if _fits(step, event.since, corrected_on)), None)

    def _percent(self, step: Rule, rule: Rule, event: CreditEvent) -> int:
        is_small = rule.small and event.amount_fen is not None and event.amount_fen <= step.small_fen
        return _PERCENT if is_small else step.percent

    def _bonus(self, lost: int) -> Iterator[Line]:
        """Yield what repair of the whole credit gives: never more than was lost, so that no breach is a gain."""
        asked = self.facts.whole_credit_asked_on
        events = [event for rule, event in self._known if not self._is_waived(rule, event)]
        if asked is None or asked > self.facts.as_of or not events:
            return
        if any(event.corrected_on is None or event.corrected_on > asked for event in events):
            return
        clean = _months_between(max(event.since for event in events), asked)
        for rule in self.rules.of(RuleKind.BONUS):
            earned = min(max(0, clean - rule.months + 1) * TENTHS, rule.tenths, lost)
            if earned > 0:
                yield Line(kind=LineKind.POINTS, rule=rule, tenths=earned, since=asked)

    # The letter

    def _direct_d(self) -> tuple[list[Line], int] | None:
        """Return what makes it a D whatever the points, and for how many years that has stood [GRADE-5]."""
        kept = self.rules.rules["direct_d_kept"]
        until = date(self.facts.year + kept.years - 1, 12, 31)
        lines = [
            Line(kind=LineKind.GRADE, rule=group.rule, references=group.references, since=group.since, until=until)
            for group in self._groups(RuleKind.DIRECT_D)
            if self._lift_of(group.events[0]) is None
        ]
        if lines:
            return lines, 1
        last = self.facts.previous
        if last is not None and last.letter is Grade.D and last.is_direct and last.years < kept.years:
            return [Line(kind=LineKind.GRADE, rule=kept)], last.years + 1
        return None

    def _lift_of(self, event: CreditEvent) -> Rule | None:
        if event.corrected_on is None or event.corrected_on > self.facts.as_of:
            return None
        lifts = (rule for rule in self.rules.of(RuleKind.LIFT) if rule.lifts == event.rule)
        return next((rule for rule in lifts if _fits(rule, event.since, event.corrected_on)), None)

    def _letter(self, points: int) -> tuple[Grade | None, list[Line]]:
        rules = self.rules.rules
        new, idle = rules.get("grade_m_new"), rules.get("grade_m_without_income")
        if not_rated := rules.get("not_rated_new"):
            if self._months_operating < not_rated.months:
                return None, [_grade_line(not_rated)]
            if not self.facts.has_income:
                return None, [_grade_line(rules["not_rated_without_income"])]
        if new and self._months_operating < new.months:
            return Grade.M, [_grade_line(new)]
        if idle and not self.facts.has_income and points >= idle.tenths:
            return Grade.M, [_grade_line(idle)]
        found = next(rules[name] for name in _LETTERS if points >= rules[name].tenths)
        return _LETTERS[found.id], [_grade_line(found)]

    @property
    def _months_operating(self) -> int:
        return _months_between(self.facts.operating_since, date(self.facts.year + 1, 1, 1))

    def _bars(self) -> Iterator[Line]:
        facts, rules = self.facts, self.rules.rules
        holds: Mapping[str, bool] = {
            "operating_under_three_years": self._months_operating < rules["operating_under_three_years"].months,
            "last_year_d": facts.previous is not None and facts.previous.letter is Grade.D,
            "zero_vat_in_a_row": facts.zero_vat_in_a_row >= rules["zero_vat_in_a_row"].months,
            "zero_vat_in_total": facts.zero_vat_in_total >= rules["zero_vat_in_total"].months,
            "books_not_to_standard": not facts.are_books_to_standard,
        }
        yield from (_grade_line(rules[name]) for name, is_so in holds.items() if is_so)
        for group in self._groups(RuleKind.DIRECT_D):
            lift = self._lift_of(group.events[0])
            if lift is not None:
                yield Line(kind=LineKind.GRADE, rule=lift, references=group.references, since=group.since)

    # What is left to correct

    def advice(self) -> tuple[RepairAdvice, ...]:
        found = [(group, [*self._gains(group)]) for group in self.open_groups()]
        worth = [(group, gains) for group, gains in found if gains]
        worth.sort(key=lambda each: (each[0].rule.kind is RuleKind.DEDUCTION, -each[1][0].tenths, each[0].since))
        return tuple(
            RepairAdvice(
                rule=group.rule,
                references=group.references,
                since=group.since,
                options=tuple(self._option(group, gain) for gain in gains),
            )
            for group, gains in worth[:MAX_ADVICE]
        )

    def open_groups(self) -> Iterator[_Group]:
        """Iterate over what is not corrected and, by confirmed rules alone, can be."""
        for kind in (RuleKind.DIRECT_D, RuleKind.DEDUCTION):
            for group in self._groups(kind):
                if group.waiting and group.rule.confirmed and any(self._ways(group.rule)):
                    yield group

    def _ways(self, rule: Rule) -> Iterator[Rule]:
        """Iterate over the confirmed rules by which a correction counts, in the order of their last days."""
        if rule.kind is RuleKind.DIRECT_D:
            return (each for each in self.rules.of(RuleKind.LIFT) if each.lifts == rule.id and each.confirmed)
        is_open = rule.repair is not Repair.NONE
        return (each for each in self.rules.of(RuleKind.STEP) if is_open and each.confirmed)

    def _gains(self, group: _Group) -> Iterator[_Gain]:
        """Yield the last day of each amount that is given back; of days that give the same, the last one."""
        found = [gain for by in self._last_days(group) if (gain := self._gain(group, by=by)) is not None]
        for gain, following in zip_longest(found, found[1:]):
            if following is None or following.tenths < gain.tenths:
                yield gain

    def _gain(self, group: _Group, *, by: date | None) -> _Gain | None:
        """Return what a group gives back if it is corrected on a last day, or after all others where that is none."""
        on = by or self._day_after_all(group)
        then = _Grading(facts=_corrected(replace(self.facts, events=group.events), on=on), rules=self.rules)
        after = _Group(rule=group.rule, events=then.facts.events)
        tenths, step = then._given_back(after)
        if group.rule.kind is RuleKind.DIRECT_D:
            step = then._lift_of(after.events[0])
        return None if step is None else _Gain(by=by, on=on, step=step, tenths=tenths)

    def _option(self, group: _Group, gain: _Gain) -> RepairOption:
        result = assess_grade(_corrected(self.facts, on=gain.on, only=group.events), self.rules)
        return RepairOption(
            by=gain.by,
            step=gain.step,
            tenths=gain.tenths,
            points_tenths=result.points_tenths,
            letter=result.letter,
        )

    def _last_days(self, group: _Group) -> list[date | None]:
        """Return the days, from the day of the grading on, after which a correction counts for less; None is never."""
        days = {way.last_day(event.since) for way in self._ways(group.rule) for event in group.waiting}
        finite: list[date | None] = [*sorted(day for day in days if day is not None and day >= self.facts.as_of)]
        return [*finite, None] if None in days else finite

    def _day_after_all(self, group: _Group) -> date:
        days = [way.last_day(event.since) for way in self._ways(group.rule) for event in group.waiting]
        return max([self.facts.as_of, *(day for day in days if day is not None)]) + timedelta(days=1)


def _rank(event: CreditEvent) -> tuple[object, ...]:
    corrected = event.corrected_on or date.max
    return event.since, event.rule, event.reference, corrected, event.amount_fen or 0, event.payments


def _corrected(facts: GradeFacts, *, on: date, only: Collection[CreditEvent] | None = None) -> GradeFacts:
    """Return what would be known on a later day if events were corrected on it, and nothing else happened."""
    known = [event for event in facts.events if event.since <= facts.as_of]
    after = [
        replace(event, corrected_on=on) if event.corrected_on is None and (only is None or event in only) else event
        for event in known
    ]
    return replace(facts, events=tuple(after), as_of=max(on, facts.as_of))


def _fits(rule: Rule, since: date, corrected_on: date) -> bool:
    last = rule.last_day(since)
    return last is None or corrected_on <= last


def _grade_line(rule: Rule) -> Line:
    return Line(kind=LineKind.GRADE, rule=rule)


def _months_between(first: date, last: date) -> int:
    """Return the whole months from one day to another."""
    return (last.year - first.year) * _MONTHS + last.month - first.month - (last.day < first.day)
