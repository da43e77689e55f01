"""How long a test waits for what must come. Nothing is judged by it: it only ends a test that would hang for ever."""

from __future__ import annotations

import os

PATIENCE_S = float(os.environ.get("SHUIQIAO_TEST_PATIENCE_S", "600"))
"""``scripts/mutants.py`` sets less: there many tests wait for what a changed rule never lets come."""
