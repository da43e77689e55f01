"""How an enterprise without a node comes to be known at its bureau: a one-time code, its key, a backup of that."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.resources.consents import Message
from shuiqiao.client.wire import Count, Name, Nothing, TimeMs, Wire, example

TaxpayerText = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,32}$")]
CodeText = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z -]{1,32}$")]
KeyFileHex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$", max_length=8_192)]


class CodeOrder(Wire):
    """A one-time code for a taxpayer whose legal representative was identified."""

    model_config = example(taxpayer="91440300MA5LEAKME7", reference="check-2026-000017", purpose="enrol")

    taxpayer: TaxpayerText
    reference: Annotated[str, Field(min_length=1, max_length=64)]
    """The bureau's own random reference of the identity check."""
    purpose: Literal["enrol", "recover", "representative"] = "enrol"
    """representative: to enrol, by a legal representative who is a new one."""


class OneTimeCode(Wire):
    """A code, told this once."""

    model_config = example(
        taxpayer="91440300MA5LEAKME7", code="7Q2M-90KX-W3VD", valid_until_ms=1_767_312_000_000, is_registered=True
    )

    taxpayer: Name
    code: Name
    valid_until_ms: TimeMs
    is_registered: bool = True
    """Whether the bureau holds a registration record of the taxpayer, who may be new, or a number mistyped."""


class EnrolmentStatement(Wire):
    """What an enterprise signed with its enrolment key, its code within."""

    model_config = example(enrolment="d284")

    enrolment: Message


class EnrolmentRecord(Wire):
    """What an enterprise is known by at its bureau; a consent names this identity check."""

    model_config = example(
        bureau="tax-bureau",
        taxpayer="91440300MA5LEAKME7",
        reference="check-2026-000017",
        checked_ms=1_767_225_600_000,
        representative_since_ms=None,
        has_backup=False,
        code_used=True,
        entry_delay_min=0,
    )

    bureau: Name
    taxpayer: Name
    reference: Name
    checked_ms: TimeMs
    representative_since_ms: TimeMs | None = None
    """When a new legal representative was first identified: consents on earlier checks are to be renewed."""
    has_backup: bool
    """Whether an encrypted key file is kept for it."""
    code_used: bool = False
    """Whether this call used a code up: not where the key was enrolled already and no fresh code was shown."""
    entry_delay_min: Count = 0
    """For how many minutes at most this bureau keeps a grant back; where it does, a window is of whole days."""


class EnrolmentQuestion(Wire):
    """Names a taxpayer."""

    model_config = example(taxpayer="91440300MA5LEAKME7")

    taxpayer: TaxpayerText


class CredentialsRevoked(Wire):
    """How many copies of a taxpayer's credentials were revoked now."""

    model_config = example(revoked=10)

    revoked: Count


class KeyBackup(Wire):
    """A key file that the enterprise encrypted on its own device, and signed to be kept."""

    model_config = example(backup="d284")

    backup: Message


class KeyRecovery(Wire):
    """What gives an encrypted key file back: a code of that purpose."""

    model_config = example(taxpayer="91440300MA5LEAKME7", code="7Q2M-90KX-W3VD")

    taxpayer: TaxpayerText
    code: CodeText


class RecoveredKey(Wire):
    """The encrypted key file as it was left; the passphrase opens it."""

    model_config = example(key_file="7b22")

    key_file: KeyFileHex


ISSUE_CODE: Final = Operation(
    path="/enrolments/codes",
    sent=CodeOrder,
    told=OneTimeCode,
    act="enrolments.issue_code",
    subject=lambda order: f"taxpayer/{order.taxpayer}",
    shows_taxpayer=True,
)
REVOKE_CREDENTIALS: Final = Operation(
    path="/enrolments/credentials/revocations",
    sent=EnrolmentQuestion,
    told=CredentialsRevoked,
    act="enrolments.revoke_credentials",
    subject=lambda asked: f"taxpayer/{asked.taxpayer}",
    shows_taxpayer=True,
)
READ_ENROLMENT: Final = Operation(
    path="/enrolments/searches",
    sent=EnrolmentQuestion,
    told=EnrolmentRecord,
    act="enrolments.read",
    subject=lambda asked: f"taxpayer/{asked.taxpayer}",
    shows_taxpayer=True,
)
ENROL: Final = Operation(path="/enrolments", sent=EnrolmentStatement, told=EnrolmentRecord)
RECOVER_KEY: Final = Operation(path="/enrolments/recoveries", sent=KeyRecovery, told=RecoveredKey)
READ_OWN_ENROLMENT: Final = Operation(method="GET", path="/own/enrolment", sent=Nothing, told=EnrolmentRecord)
KEEP_KEY_BACKUP: Final = Operation(path="/own/key-backup", sent=KeyBackup, told=EnrolmentRecord)
