"""Explains tax credit grades by a bureau's records and issues them, for a message of the API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.ids import Uscc
from shuiqiao.client.resources import grades as api
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.standards.publication import load_catalogue

if TYPE_CHECKING:
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.own import OwnScope
    from shuiqiao.vault.service import Vault


def explain_grade(institution: Institution, asked: api.GradeQuestion) -> api.GradeExplanation:
    """Return how a taxpayer's grade follows from this bureau's records; raises what ``TaxCredit.explain`` raises."""
    return _explanation(institution.vault, asked.taxpayer, year=asked.year, today=institution.today())


def explain_grade_at(reader: HomeReader, asked: api.GradeQuestion) -> api.GradeExplanation:
    """Return the same from the files of a home that is looked at."""
    today = datetime.fromtimestamp(reader.now_ms() / MS_PER_SECOND, tz=UTC).date()
    with reader.records() as vault:
        return _explanation(vault, asked.taxpayer, year=asked.year, today=today)


def explain_own_grade(institution: Institution, scope: OwnScope, asked: api.OwnGradeQuestion) -> api.GradeExplanation:
    """Return how the enterprise's own grade follows from its bureau's records; raises as ``explain_grade``."""
    require_role(institution.settings, Role.TAX_BUREAU)
    return _explanation(institution.vault, scope.taxpayer, year=asked.year, today=institution.today())


def _explanation(vault: Vault, taxpayer: str, *, year: int, today: date) -> api.GradeExplanation:
    from shuiqiao.tax_credit.service import TaxCredit

    told = TaxCredit(vault, catalogue=load_catalogue()).explain(Uscc(taxpayer), year=year, today=today)
    return api.GradeExplanation(**told)


def issue_grade(institution: Institution, asked: api.GradeIssue) -> api.GradeRecord:
    """Issue a grade as a record of this bureau; raises what ``decode_facts`` and ``TaxCredit.issue`` raise."""
    from shuiqiao.tax_credit.facts_file import decode_facts
    from shuiqiao.tax_credit.model import points_text
    from shuiqiao.tax_credit.service import TaxCredit
    from shuiqiao.vault.contract import LedgerLeaves

    require_role(institution.settings, Role.TAX_BUREAU)
    file = decode_facts(asked.facts.encode())
    issued = TaxCredit(institution.vault, catalogue=institution.catalogue).issue(
        file,
        today=institution.today(),
        confirmed=asked.confirmed,
        anchor=institution.outbox,
        status_of=LedgerLeaves(institution.engine.state(), institution.member),
    )
    assessment = issued.assessment
    return api.GradeRecord(
        taxpayer=file.taxpayer or "",
        year=file.year,
        grade=assessment.letter,
        points=None if assessment.points_tenths is None else points_text(assessment.points_tenths),
        direct_d=assessment.is_direct_d,
        rules=assessment.version.id,
        batch=issued.batch.hex(),
        leaf=issued.leaf,
        anchor=issued.anchored,
        is_new=issued.is_new,
    )
