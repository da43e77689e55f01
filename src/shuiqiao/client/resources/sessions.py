"""Logging in: what a caller proves, and the token that it gets."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.resources.consents import Message
from shuiqiao.client.wire import Count, Hex, Name, Nothing, TimeMs, Wire, example

Secret = Annotated[str, Field(min_length=1, max_length=1_024)]


class UserProof(Wire):
    """A user's name, password and, where it has a second factor, the code of this moment."""

    model_config = example(name="chen.wei", password="seven words that nobody knows", code="123456")  # noqa: S106 - an example

    name: Annotated[str, Field(min_length=1, max_length=100)]
    password: Secret
    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{0,8}$")] = ""


class ClientProof(Wire):
    """A program's id and secret."""

    model_config = example(client="core-banking", secret="kept-by-the-program-alone")  # noqa: S106 - an example

    client: Annotated[str, Field(min_length=1, max_length=100)]
    secret: Secret


class EnterpriseProof(Wire):
    """A challenge of this institution, signed by an enterprise's key with the address that it reached."""

    model_config = example(signed="d284")

    signed: Message


class Challenge(Wire):
    """What an enterprise signs to log in, once and soon, and what its signature is bound to."""

    model_config = example(challenge="5a" * 56, institution="tax-bureau", network="8f" * 32, suite="intl")

    challenge: Hex
    institution: Name
    network: Hex
    suite: Name


class SessionToken(Wire):
    """A token, told this once."""

    model_config = example(token="Zm9yIHRoZSByZWZlcmVuY2Ugb25seQ", ends_ms=1_767_254_400_000, idle_ms=900_000)  # noqa: S106 - an example

    token: Name
    ends_ms: TimeMs
    """When it ends at the latest; it ends earlier if it is not used."""
    idle_ms: Count
    """After how long without a use it ends, in ms."""


class CallerRecord(Wire):
    """Who calls, and what it may do."""

    model_config = example(kind="user", id="2f" * 16, name="chen.wei", permissions=["ledger.read", "requests.read"])

    kind: Name
    id: Name
    name: Name
    permissions: tuple[Name, ...]


LOG_IN_USER: Final = Operation(path="/sessions/user", sent=UserProof, told=SessionToken, tells_secret=True)
READ_CHALLENGE: Final = Operation(method="GET", path="/sessions/challenge", sent=Nothing, told=Challenge)
LOG_IN_ENTERPRISE: Final = Operation(path="/sessions/enterprise", sent=EnterpriseProof, told=SessionToken)
END_SESSION: Final = Operation(path="/sessions/end", sent=Nothing, told=CallerRecord)
