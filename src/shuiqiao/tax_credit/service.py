"""A bureau's tax credit: explains a taxpayer's grade by its records, and issues grades as records of its vault.

An issued grade is a record like every other: anchored, disclosed under consent, superseded by a later one [GRADE-11].
It is what ``assess_grade`` works out. A rule that no source confirms is confirmed by the bureau, or nothing is issued.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.tax_credit.assessment import assess_grade
from shuiqiao.tax_credit.explanation import explain_grade
from shuiqiao.tax_credit.facts_file import FactsFile
from shuiqiao.tax_credit.model import points_text
from shuiqiao.tax_credit.records import NEEDS, YEARS_BEFORE, RecordedFacts, facts_of_records
from shuiqiao.tax_credit.rules import rules_in_force
from shuiqiao.vault.search import RecordQuery

if TYPE_CHECKING:
    from collections.abc import Collection

    from shuiqiao.standards.model import Catalogue
    from shuiqiao.tax_credit.model import GradeAssessment
    from shuiqiao.vault.model import Anchor, LeafLookup
    from shuiqiao.vault.service import Vault

RECORD_TYPE = "tax_credit_grade"
_COLUMNS = ("uscc", "year", "grade", "score", "direct_d", "evaluated_on")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedRecord:
    """A grade that was issued, and its place on the ledger. is_new: it was not issued in these words before."""

    assessment: GradeAssessment
    batch: bytes
    leaf: int
    anchored: int | None
    is_new: bool


class TaxCredit:
    """The tax credit of a bureau's taxpayers.

    Example::

        TaxCredit(vault, catalogue=catalogue).explain(uscc, year=2025, today=today)["repairs"]
    """

    def __init__(self, vault: Vault, *, catalogue: Catalogue) -> None:
        self._vault = vault
        self._catalogue = catalogue

    def recorded(self, taxpayer: Uscc, *, year: int, today: date) -> RecordedFacts:
        """Return what the records say of a year.

        Raises Conflict ``tax_credit.year_not_begun``, and what ``facts_of_records`` and
        ``Vault.disclose`` raise.
        """
        if year > today.year:
            raise Conflict("tax_credit.year_not_begun", f"{year} has not begun: it is {today}")
        found = self._vault.disclose(
            uscc=taxpayer, groups=NEEDS, period_from=date(year - YEARS_BEFORE, 1, 1), period_to=date(year, 12, 31)
        )
        # A return of December is due in the next year, one due in January is of the year before: both are read.
        rows = {each.standard.partition("@")[0]: each.rows.to_pylist() for each in found.types}
        return facts_of_records(rows, year=year, as_of=today)

    def explain(self, taxpayer: Uscc, *, year: int, today: date) -> dict[str, Any]:
        """Return the explanation of a taxpayer's grade of a year by its records, beside the grade that was issued.

        By the rules of the day on which that was determined, else of today. Raises as ``recorded``.
        """
        said = self.recorded(taxpayer, year=year, today=today)
        day = today if said.issued is None else said.issued.evaluated_on or today
        return explain_grade(said.facts, rules=rules_in_force(day), remarks=said.remarks, issued=said.issued)

    def issue(
        self, file: FactsFile, *, today: date, confirmed: Collection[str], anchor: Anchor, status_of: LeafLookup
    ) -> IssuedRecord:
        """Issue the grade that follows from a file of facts; the same again changes nothing.

        confirmed: ids of unconfirmed rules that the bureau, whose rules they are, confirms. Raises InvalidInput
        ``tax_credit.taxpayer_missing``, ``tax_credit.rule_unknown``, Denied ``tax_credit.not_rated``,
        ``tax_credit.rule_unconfirmed``, Conflict ``tax_credit.not_issued`` where the vault kept the record out, and
        what ``Vault.ingest`` raises.
        """
        if file.taxpayer is None:
            raise InvalidInput("tax_credit.taxpayer_missing", "the file names no taxpayer whose grade is issued")
        facts = file.facts(today=today)
        assessment = assess_grade(facts, rules_in_force(facts.as_of))
        _require_issuable(assessment, confirmed)
        row = {
            "uscc": file.taxpayer,
            "year": facts.year,
            "grade": assessment.letter,
            "score": "" if assessment.points_tenths is None else points_text(assessment.points_tenths),
            "direct_d": str(assessment.is_direct_d).lower(),
            "evaluated_on": facts.as_of.isoformat(),
        }
        is_new = self._take_in(row, anchor=anchor)
        return self._place_of(file.taxpayer, facts.year, assessment, is_new=is_new, status_of=status_of)

    def _take_in(self, row: dict[str, Any], *, anchor: Anchor) -> bool:
        """Take a row in as files of records are: by the same checks, identity and anchor."""
        with TemporaryDirectory(prefix="shuiqiao-grade-") as folder:
            path = Path(folder) / f"tax_credit_grade-{row['year']}.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                writer: csv.DictWriter[str] = csv.DictWriter(file, _COLUMNS)
                writer.writeheader()
                writer.writerow(row)
            report = self._vault.ingest((path,), anchor=anchor, record_type=self._catalogue.get(RECORD_TYPE))
        if report.records_quarantined:
            raise Conflict("tax_credit.not_issued", f"the vault kept the grade out; {report.report} says why")
        return report.records_ingested > 0

    def _place_of(
        self, taxpayer: str, year: int, assessment: GradeAssessment, *, is_new: bool, status_of: LeafLookup
    ) -> IssuedRecord:
        query = RecordQuery(
            uscc=Uscc(taxpayer), record_type=self._catalogue.get(RECORD_TYPE), values={"year": str(year)}
        )
        newest = max(self._vault.find(query, status_of=status_of), key=lambda version: version.version)
        return IssuedRecord(
            assessment=assessment, batch=newest.batch, leaf=newest.index, anchored=newest.anchored, is_new=is_new
        )


def _require_issuable(assessment: GradeAssessment, confirmed: Collection[str]) -> None:
    if assessment.letter is None:
        raise Denied("tax_credit.not_rated", f"the rules {assessment.version.id} rate nobody of this kind")
    open_rules = [rule for rule in assessment.unconfirmed if rule not in confirmed]
    if open_rules:
        raise Denied(
            "tax_credit.rule_unconfirmed",
            f"the grade rests on rules that are not confirmed here: {', '.join(open_rules)}",
        )
