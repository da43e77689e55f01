"""The two formats of credentials, apart from what reads them: commands name one before anything is loaded."""

from __future__ import annotations

from enum import StrEnum


class CredentialFormat(StrEnum):
    """How a credential is shown: its claims one by one, each copy once; or by predicates, any number of times."""

    SD_JWT = "sd-jwt"
    ANONCREDS = "anoncreds"
