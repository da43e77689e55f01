"""How long a test waits for what must come. Nothing is judged by it: it only ends a test that would hang for ever."""

from __future__ import annotations

PATIENCE_S = 600.0
