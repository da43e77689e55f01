"""What other banks have lent to this bank's applicants, as they told it: in bands, under consents at both banks."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.answers import ConsentName
from shuiqiao.client.wire import Count, Name, TimeMs, Wire, example

ASK_TIMEOUT_S: Final = 600.0
"""How long it may take: a bureau answers for each applicant first."""

RunName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MAX_EVIDENCE_CHARS: Final = 12 * 1024 * 1024
"""In base64: 8 MiB of evidence have 11.2 million characters."""

_RUN = {
    "run": "5d" * 32,
    "other": "second-bank",
    "made_ms": 1_767_225_600_000,
    "erase_after_ms": 1_782_777_600_000,
}
_EXPOSURE = {
    "consent": "tax-bureau/" + "4f" * 16,
    "bank": "second-bank",
    "request": "first-bank/" + "7a" * 16,
    "band": 1,
    "from_fen": 10_000_000,
    "counted_fen": 30_000_000,
    "asked_ms": 1_767_225_600_000,
    "erase_after_ms": 1_775_001_600_000,
}


class ExposureRecord(Wire):
    """What one bank told of one applicant. band: 0 to 7, None where it told none.

    None is told where it has lent nothing, and where it holds no such consent. from_fen: above which the band begins.
    counted_fen: what it counts as in a limit, the upper end of the band.
    """

    model_config = example(**_EXPOSURE)

    consent: Name
    bank: Name
    request: Name
    band: Annotated[int, Field(ge=0, le=7)] | None
    from_fen: Count | None
    counted_fen: Count
    asked_ms: TimeMs
    erase_after_ms: TimeMs


class ExposurePage(Page[ExposureRecord]):
    """What other banks told, oldest first."""

    model_config = example(items=[_EXPOSURE], next=None)


class ExposureAsking(Wire):
    """Which bank is asked, and under which consent; without one, under all on file that allow it and were not used."""

    model_config = example(member="second-bank", consent="tax-bureau/" + "4f" * 16)

    member: Name
    consent: ConsentName | None = None


class ConsentRefused(Wire):
    """A consent under which it could not be asked, and why."""

    model_config = example(consent="tax-bureau/" + "4e" * 16, code="exchange.frequency_exceeded")

    consent: Name
    code: Name


class ExposuresTold(Wire):
    """What came of asking a bank."""

    model_config = example(exposures=[_EXPOSURE], refused=[])

    exposures: tuple[ExposureRecord, ...]
    refused: tuple[ConsentRefused, ...]


class RunRecord(Wire):
    """A run in which this bank took part. run: SHA-256 of the question."""

    model_config = example(**_RUN)

    run: RunName
    other: Name
    made_ms: TimeMs
    erase_after_ms: TimeMs


class RunPage(Page[RunRecord]):
    """Runs, oldest first."""

    model_config = example(items=[_RUN], next=None)


class RunChoice(Wire):
    """Which run."""

    model_config = example(run="5d" * 32)

    run: RunName


class Evidence(Wire):
    """What a bank put into a run, with what it signed, for an auditor; base64 of the file's bytes."""

    model_config = example(evidence="omRiYW5raA==")

    evidence: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=MAX_EVIDENCE_CHARS)]


class CheckedRun(Wire):
    """A run of which one bank's list holds: each taxpayer in it by a consent that allows it. bank: whose list it is."""

    model_config = example(bank="first-bank", asks="first-bank", asked="second-bank", taxpayers=12)

    bank: Name
    asks: Name
    asked: Name
    taxpayers: Count


ASK_EXPOSURES: Final = Operation(
    path="/exposures",
    sent=ExposureAsking,
    told=ExposuresTold,
    timeout_s=ASK_TIMEOUT_S,
    act="exposures.ask",
    subject=lambda asked: f"member/{asked.member}",
    shows_taxpayer=True,
)
LIST_RUNS: Final = Operation(method="GET", path="/exposures/runs", sent=PageQuery, told=RunPage)
READ_EVIDENCE: Final = Operation(
    method="GET",
    path="/exposures/runs/{run}",
    sent=RunChoice,
    told=Evidence,
    act="exposures.evidence",
    subject=lambda asked: f"run/{asked.run}",
    shows_taxpayer=True,
)
CHECK_EVIDENCE: Final = Operation(path="/exposures/checks", sent=Evidence, told=CheckedRun, act="exposures.check")
LIST_EXPOSURES: Final = Operation(
    method="GET", path="/exposures", sent=PageQuery, told=ExposurePage, act="exposures.list", shows_taxpayer=True
)
