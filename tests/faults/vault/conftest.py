"""Gives each test vault worlds that are closed after it."""

from __future__ import annotations

from vault_fixtures import open_world

__all__ = ["open_world"]
