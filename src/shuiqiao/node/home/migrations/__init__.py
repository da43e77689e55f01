"""The steps by which a home's database came to its tables of today, run by alembic in order, each one once.

A step is a file in ``versions`` and never changes once it was released: what it makes is written out in it, so that it
makes the same for ever whatever the stores say by then. CONTRIBUTING says how to write the next one.
"""

from __future__ import annotations

from typing import Final

NEWEST_STEP: Final = "r0028_cohorts"
"""The last file in ``versions``; by its name, so that two steps that were written at once cannot both be the next."""

NEWEST: Final = NEWEST_STEP[1:5]
"""The revision that this program works with: the last file in ``versions``. Kept here, so that a database that is there
already is opened without alembic."""

WANTS_REWRITING: Final = 1
"""What SQLite's ``user_version`` says of a file in which a step left bytes that must go; once rewritten, it says 0."""
