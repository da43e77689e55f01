"""What a tax bureau states of a taxpayer's leakage account to a regulator that asked for it [LEAK-9].

The bureau signs it, for this regulator and this very question, so that what it told can be held against it. Pure: no
clock, no ledger, no storage.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import CalendarMs, Digest, MemberName
from shuiqiao.consent.model import Mode, Purpose, TaxpayerNumber
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.privacy.model import Account, AccountLine, BudgetUse

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

STATEMENT: Final = "privacy.account_statement/1"
MAX_STATEMENT_BYTES: Final = 1 << 20
"""About 4,000 lines: 250 recipients, each for every purpose in every mode."""

_MAX_ROWS: Final = 8_192

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class StatedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An ``AccountLine``."""

    recipient: MemberName | None
    purpose: Purpose | None
    mode: Mode | None
    answers: _Count
    fields: _Count
    millibits: _Count
    rank: _Count


class StatedUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``BudgetUse``."""

    recipient: MemberName | None
    purpose: Purpose | None
    millibits: _Count
    most_millibits: _Count
    rank: _Count
    most_rank: _Count
    feature: Annotated[str, Meta(max_length=64)] | None
    feature_millibits: _Count
    most_feature_millibits: _Count


class AccountStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bureau signs. question: the digest of what was asked, as it was sealed."""

    bureau: MemberName
    regulator: MemberName
    question: Digest
    taxpayer: TaxpayerNumber
    made_ms: CalendarMs
    lines: Annotated[list[StatedLine], Meta(max_length=_MAX_ROWS)]
    budgets: Annotated[list[StatedUse], Meta(max_length=_MAX_ROWS)]

    @classmethod
    def of(cls, account: Account, **about: Any) -> AccountStatement:
        """Return the statement of an account. about: the other fields."""
        return cls(
            lines=[StatedLine(**asdict(line)) for line in account.lines],
            budgets=[StatedUse(**asdict(use)) for use in account.budgets],
            **about,
        )

    def account(self) -> Account:
        """Return the account that it states."""
        return Account(
            lines=tuple(AccountLine(**_fields(line)) for line in self.lines),
            budgets=tuple(BudgetUse(**_fields(use)) for use in self.budgets),
        )

    def require_answers(self, *, bureau: MemberId, regulator: MemberId, question: bytes, taxpayer: str) -> None:
        """Return if it answers this very question; raises IntegrityError ``privacy.statement_differs``."""
        if (self.bureau, self.regulator, self.question, self.taxpayer) != (bureau, regulator, question, taxpayer):
            raise IntegrityError(
                "privacy.statement_differs",
                f"{bureau} was asked for an account, and what came is a statement of {self.bureau} to {self.regulator} "
                f"that answers another question",
            )


def _fields(row: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def encode_statement(body: AccountStatement, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a statement signed by its bureau."""
    return sign_document(body, name=STATEMENT, network=network, suite=suite, keys=(key,))


def decode_statement(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[AccountStatement]:
    """Return a statement in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, AccountStatement, name=STATEMENT, network=network, suite=suite, max_bytes=MAX_STATEMENT_BYTES
    )
