"""What a machine may lack that a test needs."""

from __future__ import annotations

import builtins
import os
from typing import Any, NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip with the reason; a failure in CI, where what is claimed must be run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package be one that is not installed, for the rest of a test."""
    real = builtins.__import__

    def absent_import(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == package:
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent_import)
