"""Works on a bank's applications for a message of the API: each function is one operation of the resource's file."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.encoding import decode_json
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import ID_BYTES, OwnedId
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.client.resources import applications as api
from shuiqiao.lending.file import MAX_KEPT_BYTES, ApplicationFile, ApplicationStatus, Step
from shuiqiao.lending.model import RULE_WORDS, ApplicantFile, PaperInvoice, RuleCode
from shuiqiao.lending.outputs import requests_for
from shuiqiao.node.accounts.store import AccountStore
from shuiqiao.node.applications import WAIT_S, DeliveredOpenings, find_application, regulator_of
from shuiqiao.node.jobs.duties import PROCESS_OPEN
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.service import duty_id
from shuiqiao.node.jobs.store import JobStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.wire import Nothing
    from shuiqiao.lending.store import ApplicationRow, DecisionRow
    from shuiqiao.node.institution import Institution

_UNTIL: Final = {"proven": Step.PROVEN, "closed": Step.CLOSED}
_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([0-9a-f]{32})")


def hand_in(institution: Institution, wanted: api.HandedInApplication) -> api.ApplicationFileRecord:
    """Take an application in and put it on the ledger; the same again changes nothing.

    Where the ledger cannot be reached the file is kept, its timeline says what it waits for, and the home's server goes
    on with it. Raises what ``LendingService.apply`` and ``ConsentFile.artefact`` raise, ``requests_for`` for a product
    in the mode score.
    """
    name = bytes.fromhex(wanted.application) if wanted.application else _id_of(institution, wanted)
    with kept_where_unavailable(institution, name):
        _apply(institution, wanted, name=name)
    return _told(institution, name)


@contextmanager
def kept_where_unavailable(institution: Institution, application: bytes) -> Generator[None]:
    """Go on where an application is on file and only the ledger is not there: its timeline says so."""
    try:
        yield
    except Unavailable as error:
        if not institution.application_store.has(application):
            raise
        let_go_of_calls(error)


def _apply(institution: Institution, wanted: api.HandedInApplication, *, name: bytes) -> None:
    consent = OwnedId(wanted.consent)
    papers = tuple(
        PaperInvoice(
            paper=paper.paper,
            invoice_no=paper.invoice_no,
            issue_date=day_in(paper.issue_date),
            total_fen=paper.total_fen,
        )
        for paper in wanted.papers
    )
    # [CONSENT-28]: what the enterprise signed for is what the bank judges.
    artefact, product = institution.consent_file.artefact(consent), institution.products.product(wanted.product)
    if artefact.product != product.id:
        raise Denied(
            "consent.product_wrong", f"the application is for {product.id}, consent {consent} for {artefact.product}"
        )
    if product.score is not None and not institution.application_store.has(name):
        requests_for(product, consent=consent, recipient=institution.recipient, today=institution.today())
    institution.lending.apply(
        product,
        taxpayer=artefact.taxpayer,
        consent=consent,
        amount_fen=wanted.amount_fen,
        applicant=ApplicantFile(
            papers=papers,
            other_debt_fen=wanted.other_debt_fen,
            industry=wanted.industry,
            province=wanted.province,
        ),
        application=name,
    )


def _id_of(institution: Institution, wanted: api.HandedInApplication) -> bytes:
    """Return the id that follows from what is wanted, so that it is applied for once however often it is sent.

    The same wish is another application once the one before ended and is a day old. The id follows by a key of this
    home's: it stands on the ledger, where nobody finds amounts by guessing them.
    """
    store, number = institution.application_store, 0
    while True:
        found = institution.cipher.tag(f"application/{number}/{wanted.model_dump_json()}")[:ID_BYTES]
        if not store.has(found) or not _is_over(store.file(found), now_ms=institution.outbox.now_ms()):
            return found
        number += 1


def _is_over(file: ApplicationFile, *, now_ms: int) -> bool:
    return file.closed_ms is not None and now_ms - file.application.submitted_ms >= MS_PER_DAY


def list_applications(institution: Institution, asked: api.ApplicationsQuestion) -> api.ApplicationPage:
    """List applications, the oldest first; raises InvalidInput ``api.cursor_unknown``."""
    rows = institution.application_store.applications(
        status=None if asked.status is None else ApplicationStatus(asked.status),
        product=asked.product,
        after=_place(asked.cursor),
        limit=asked.limit + 1,
    )
    items = tuple(
        api.ApplicationRow(
            application=row.application.id.hex(),
            product=row.application.product,
            taxpayer=row.application.taxpayer,
            amount_fen=row.application.amount_fen,
            submitted=iso_from_ms(row.application.submitted_ms),
            status=row.status.value,
        )
        for row in rows[: asked.limit]
    )
    return api.ApplicationPage(items=items, next=_next(rows, limit=asked.limit))


def read_application(institution: Institution, asked: api.ApplicationQuestion) -> api.ApplicationFileRecord:
    """Tell everything that the bank has of one application; raises InvalidInput ``node.application_unclear``."""
    return _told(institution, find_application(institution.application_store, asked.application))


def process(institution: Institution, asked: api.ApplicationProcessing) -> api.ApplicationFileRecord:
    """Take an application on; raises what ``ApplicationProcess.process`` raises."""
    name = find_application(institution.application_store, asked.application)
    institution.applications.process(name, until=_UNTIL[asked.until], wait_s=WAIT_S)
    return _told(institution, name)


def close(institution: Institution, asked: api.ApplicationClosing) -> api.ApplicationFileRecord:
    """End a file without a decision; raises what ``ApplicationProcess.close`` raises."""
    name = find_application(institution.application_store, asked.application)
    institution.applications.close(name, reason=asked.reason, wait_s=WAIT_S)
    return _told(institution, name)


def ask_anew(institution: Institution, asked: api.ApplicationQuestion) -> api.ApplicationFileRecord:
    """Let data be asked for again; raises what ``ApplicationProcess.ask_anew`` raises."""
    name = find_application(institution.application_store, asked.application)
    institution.applications.ask_anew(name, wait_s=WAIT_S)
    return _told(institution, name)


def hand_in_openings(institution: Institution, _asked: Nothing) -> api.HandedInOpenings:
    """Hand every opening in once more, for a regulator that lost what it had [LENDING-5].

    Raises Denied ``node.role_wrong``, ``node.regulator_unclear``.
    """
    lending, engine = institution.lending, institution.engine
    regulator = regulator_of(engine.state())
    link = DeliveredOpenings(deliveries=institution.deliveries, bank=institution.member, engine=engine)
    return api.HandedInOpenings(count=link.hand_in_again(lending.openings_for(regulator)))


def list_referrals(institution: Institution, asked: PageQuery) -> api.ReferralPage:
    """List the applications that people decide on, the oldest first; raises InvalidInput ``api.cursor_unknown``."""
    store = institution.application_store
    rows = store.applications(status=ApplicationStatus.REFERRED, after=_place(asked.cursor), limit=asked.limit + 1)
    files = [store.file(row.application.id) for row in rows[: asked.limit]]
    items = tuple(record for file in files for record in _referral(file))
    return api.ReferralPage(items=items, next=_next(rows, limit=asked.limit))


def list_decisions(institution: Institution, asked: api.DecisionsQuestion) -> api.DecisionPage:
    """List decisions, by when their applications were handed in; raises InvalidInput ``api.cursor_unknown``."""
    rows = institution.application_store.decisions(
        outcome=asked.outcome, after=_place(asked.cursor), limit=asked.limit + 1
    )
    items = tuple(api.DecisionRecord(**_decision(row)) for row in rows[: asked.limit])
    return api.DecisionPage(items=items, next=_next(rows, limit=asked.limit))


def read_decision(institution: Institution, asked: api.ApplicationQuestion) -> api.ExplainedDecision:
    """Tell a decision with what it rests on.

    Raises InvalidInput ``node.application_unclear``, Denied ``lending.undecided``.
    """
    name = find_application(institution.application_store, asked.application)
    row = institution.application_store.decision(name)
    explanation = decode_json(row.explanation.encode(), max_bytes=MAX_KEPT_BYTES)
    words = [(rule, RULE_WORDS[RuleCode(rule)]) for rule in explanation["rules"]]
    return api.ExplainedDecision(
        **_decision(row),
        explanation=explanation,
        rules=tuple({"rule": rule, "en": each.en, "zh": each.zh} for rule, each in words),
    )


def day_in(text: str) -> date:
    """Return the day that a text of the wire names; raises InvalidInput ``api.request_invalid``."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("api.request_invalid", f"the request is not well formed: {text!r} is no day") from error


def _told(institution: Institution, application: bytes) -> api.ApplicationFileRecord:
    file = institution.application_store.file(application)
    told: dict[str, Any] = file.as_json(suite=institution.suite) | {"next_try": _next_try(institution, file)}
    if file.decision is not None and file.review is not None:
        name_of = AccountStore(institution.database, cipher=institution.cipher).name_of
        told["decision"] |= {"maker_name": name_of(file.review.maker), "checker_name": name_of(file.review.checker)}
    return api.ApplicationFileRecord.model_validate(told)


def _next_try(institution: Institution, file: ApplicationFile) -> str | None:
    """Return when a job takes up an application of which a step failed; None where none did, or people decide first."""
    is_for_people = file.status is ApplicationStatus.REFERRED and file.review is None
    if file.closed_ms is not None or is_for_people or not file.has_failed:
        return None
    store = JobStore(institution.database, cipher=institution.cipher)
    jobs = (store.job(file.application.id), store.job(duty_id(PROCESS_OPEN)))
    due = [job.due_ms for job in jobs if job is not None and job.state is JobState.WAITING]
    return iso_from_ms(min(due)) if due else None


def _referral(file: ApplicationFile) -> list[api.ReferralRecord]:
    """Return a file as a referral; none where it is decided by now."""
    judgement = file.judgement
    if judgement is None or file.status is not ApplicationStatus.REFERRED:
        return []
    decision = judgement.decision
    return [
        api.ReferralRecord(
            application=file.application.id.hex(),
            product=file.application.product,
            taxpayer=file.application.taxpayer,
            amount_fen=file.application.amount_fen,
            submitted=iso_from_ms(file.application.submitted_ms),
            points=decision.points,
            default_probability=str(decision.default_probability),
            offered_fen=judgement.offered_fen,
            offered_rate=None if judgement.offered_rate is None else str(judgement.offered_rate),
            rules=tuple(map(str, decision.rules)),
            outputs=tuple(output.as_json() for output in decision.outputs),
            reviewed=file.review is not None,
        )
    ]


def _decision(row: DecisionRow) -> dict[str, Any]:
    return {
        "application": row.application.hex(),
        "product": row.product,
        "outcome": str(row.outcome),
        "limit_fen": row.limit_fen,
        "annual_rate": row.annual_rate,
        "maker": row.maker,
        "checker": row.checker,
        "decided": None if row.decided_ms is None else iso_from_ms(row.decided_ms),
        "entry": row.entry_index,
    }


def _next(rows: list[Any], *, limit: int) -> str | None:
    """Return the cursor behind the last row of a page, None after the last page."""
    if len(rows) <= limit:
        return None
    last: ApplicationRow | DecisionRow = rows[limit - 1]
    time_ms, application = last.place
    return f"{time_ms}.{application.hex()}"


def _place(cursor: str | None) -> tuple[int, bytes] | None:
    if cursor is None:
        return None
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise InvalidInput("api.cursor_unknown", f"{cursor[:80]!r} is no cursor of this list")
    return int(parts[1]), bytes.fromhex(parts[2])
