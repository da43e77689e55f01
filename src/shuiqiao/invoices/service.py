"""Use cases: a person verifies files of e-invoices, at a terminal or through an institution's API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shuiqiao.base.files import read_regular
from shuiqiao.crypto.certificates import Trust, load_trust
from shuiqiao.invoices.confined import ConfinedVerifier
from shuiqiao.invoices.model import Report
from shuiqiao.invoices.verification import MAX_FILE_BYTES


def verify_files(paths: Sequence[Path], *, trust_folder: Path | None = None) -> Iterator[tuple[Path, Report]]:
    """Give the report of each file, read in a process with limits.

    trust_folder: certificates and revocation lists; without it nothing is *genuine*. Raises InvalidInput
    ``crypto.trust_unreadable``, ``base.file_special``, Unavailable ``crypto.trust_missing``, OSError for a file that
    cannot be read.

    Example::

        for path, report in verify_files([Path("invoice.xml")], trust_folder=Path("roots")):
            print(path, report.verdict)
    """
    trust = load_trust(trust_folder) if trust_folder is not None else Trust()
    with ConfinedVerifier(trust) as verifier:
        for path in paths:
            yield path, verifier.verify(read_regular(path, max_bytes=MAX_FILE_BYTES))
