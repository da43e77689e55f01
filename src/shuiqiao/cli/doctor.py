"""``shuiqiao doctor``: what this machine and this home have, and what is wrong, in words."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from shuiqiao import __version__
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, print_json, say
from shuiqiao.crypto.model import SuiteName

LEAST_FREE_MB = 500
"""Free disk space below which a home is warned about, in megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. code: stable, of what is wrong; empty if all is well."""

    what: str
    ok: bool
    says: str
    code: str = ""
    next_step: str = ""


def run_doctor(*, home: Path | None, as_json: bool) -> int:
    """Look at the machine and, if one is named, at a home; exit 1 if anything is wrong."""
    findings = [*_machine(), *(_home(home) if home is not None else ())]
    is_well = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": is_well, "version": __version__, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say(f"{'ok  ' if finding.ok else 'BAD '} {finding.what:22} {finding.says}")
            if finding.next_step:
                say(f"     {'':22} next: {finding.next_step}")
    return EXIT_DONE if is_well else EXIT_REFUSED


def _machine() -> Iterator[Finding]:
    yield Finding(what="shuiqiao", ok=True, says=__version__)
    yield Finding(what="python", ok=True, says=f"{platform.python_version()} at {sys.executable}")
    for name in SuiteName:
        yield _look(f"suite {name}", partial(_suite, name))


def _suite(name: SuiteName) -> str:
    """Load a suite (it proves itself on published signatures) and return who verifies."""
    from shuiqiao.crypto.suites import get_suite

    return f"verified by {get_suite(name).verifying_provider}"


def _home(folder: Path) -> Iterator[Finding]:
    import shutil

    from shuiqiao.node.settings import Home

    home = Home(folder)
    yield _look("settings", lambda: _settings(home.folder))
    yield _look("genesis", lambda: _genesis(home.folder))
    yield _look("keys", lambda: _keys(home.folder))
    if folder.is_dir():
        free_mb = shutil.disk_usage(folder).free // 2**20
        yield Finding(
            what="disk",
            ok=free_mb >= LEAST_FREE_MB,
            says=f"{free_mb:,} MB free, {LEAST_FREE_MB} needed",
            code="" if free_mb >= LEAST_FREE_MB else "cli.disk_nearly_full",
            next_step="" if free_mb >= LEAST_FREE_MB else "free disk space before the next ingest",
        )
    yield _look("ledger and vault", lambda: _opened(home.folder))


def _settings(folder: Path) -> str:
    from shuiqiao.node.settings import Home, load_settings

    settings = load_settings(Home(folder))
    return f"{settings.member}, a {settings.role}, suite {settings.suite}, engine {settings.engine}"


def _genesis(folder: Path) -> str:
    from shuiqiao.members.genesis import network_id
    from shuiqiao.node.home import load_genesis
    from shuiqiao.node.settings import Home

    return f"network {network_id(load_genesis(Home(folder).genesis)).hex()}"


def _keys(folder: Path) -> str:
    from shuiqiao.node.keys import find_passphrase, load_keys
    from shuiqiao.node.settings import Home

    keys = load_keys(Home(folder), passphrase=find_passphrase(Home(folder)))
    return f"signing key {keys.signing.key_id.hex()[:16]} opens"


def _opened(folder: Path) -> str:
    """Open the node as a start would: recovery, index, unfinished work."""
    from shuiqiao.members.model import Role
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.settings import Home

    with Institution.open(Home(folder)) as institution:
        height, _ = institution.engine.last_block()
        says = f"height {height}, log size {institution.engine.checkpoint().size}"
        if institution.settings.role is Role.TAX_BUREAU:
            finished = institution.vault.recover(institution.outbox)
            says += f", vault opens, {finished} unfinished batches anchored now" if finished else ", vault opens"
        return says


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, ok=True, says=look())
    except ShuiqiaoError as error:
        return Finding(what=what, ok=False, says=error.message, code=error.code, next_step=error.next_step)
