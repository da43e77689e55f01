"""``shuiqiao backup``: take a backup of a home, look whether one holds, make a home again from one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import progress_on_stderr, say_rows, show, warn

if TYPE_CHECKING:
    from shuiqiao.node.backup.archive import BackupManifest
    from shuiqiao.node.backup.restore import RenewedConfiguration

_SHOWN_LINES = 5
_SHOWN_CHARACTERS = 100

backup_app = command_group("Back a home up and make it again 备份与恢复.")

From = Annotated[Path, typer.Option("--from", help="The backup file 备份文件.")]
Genesis = Annotated[
    Path | None, typer.Option(help="The network's public genesis.json: a backup of another network is refused.")
]
Since = Annotated[
    Path | None, typer.Option(help="A checkpoint known to be true, which the ledger in it must contain 已知检查点.")
]


@backup_app.command("create")
def backup_create(
    *,
    home: Home,
    to: Annotated[Path, typer.Option("--to", help="The file to write; it must not exist 备份文件.")],
    include_passphrase: Annotated[
        bool, typer.Option("--include-passphrase", help="Also the passphrase file beside the home 含口令文件.")
    ] = False,
    without_database: Annotated[
        bool, typer.Option("--without-database", help="Leave the database out: it is kept by other means.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a backup of a home into one file, while its node runs or not 备份."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.node.backup.creating import create_backup
    from shuiqiao.node.home.keys import find_passphrase, kept_passphrase_file
    from shuiqiao.node.home.settings import Home as HomeFolder

    place = HomeFolder(home)
    with progress_on_stderr() as progress:
        manifest = create_backup(
            place,
            to,
            with_passphrase=include_passphrase,
            without_database=without_database,
            passphrase=find_passphrase(place),
            clock=SystemClock(),
            progress=progress,
        )
    kept = kept_passphrase_file(place)
    if not manifest.passphrase and kept is not None:
        warn(
            f"the passphrase in {kept} is not in the backup, and the keys cannot be opened without it: keep a copy "
            "elsewhere"
        )
    warn(f"{to} holds taxpayer numbers in the vault's index and quarantine reports: keep it as safe as the home itself")
    _show({**_summary(manifest), "file": str(to)}, as_json=json)


@backup_app.command("verify")
def backup_verify(*, file: From, genesis: Genesis = None, since: Since = None, json: Json = False) -> None:
    """Read a backup to its end: every byte, who made it, and that the ledger in it names that key 核验备份."""
    from shuiqiao.node.backup.reading import verify_backup
    from shuiqiao.node.home.settings import load_genesis
    from shuiqiao.node.published.verification import load_known_checkpoint

    with progress_on_stderr() as progress:
        expected = None if genesis is None else load_genesis(genesis)
        known = None if since is None else load_known_checkpoint(since)
        found = verify_backup(file, genesis=expected, since=known, progress=progress)
    _show({**_summary(found.manifest), "bytes": found.bytes_read}, as_json=json)


@backup_app.command("restore")
def backup_restore(
    *,
    file: From,
    home: Annotated[Path, typer.Option("--home", help="The new home: a folder that is absent or empty.")],
    genesis: Genesis = None,
    since: Since = None,
    as_validator: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The old node is gone for good: sign above this CometBFT height, not below the network's 恢复签名.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make a home again, and prove its ledger, vault and database before it gets its name 恢复."""
    from shuiqiao.node.backup.restore import restore_backup
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.published.verification import load_known_checkpoint

    with progress_on_stderr() as progress:
        known = None if since is None else load_known_checkpoint(since)
        restored = restore_backup(
            file, HomeFolder(home), genesis=genesis, since=known, signs_above=as_validator, progress=progress
        )
    manifest = restored.backup.manifest
    if restored.unread:
        warn(f"the records were not recomputed, only what is not encrypted ({restored.unread}): run shuiqiao audit")
    for name, place in restored.settings_left_out.items():
        warn(
            f"{name} = {place} lies outside the home and was left out of its node.toml: add it again if this home is "
            "to use it"
        )
    if restored.configuration is not None:
        _warn_configuration(restored.configuration)
        _warn_validator(restored.signs_above)
    elif manifest.engine == "embedded":
        warn(
            "if this member orders transactions, what it wrote after the backup is not in it: before it starts, hold "
            f"it against a follower's copy (shuiqiao doctor --home {home} --against COPY)"
        )
    result = {
        **_summary(manifest),
        "home": str(home),
        "batches": restored.batches,
        "records": restored.records,
        "signs": restored.signs_above is not None if manifest.validator else None,
    }
    _show(result, as_json=json)


def _warn_configuration(configuration: RenewedConfiguration) -> None:
    peers = ", ".join(configuration.peers) or "nobody"
    warn(f"this validator listens for peers at {configuration.p2p} and dials {peers}: see that these are yours")
    if configuration.left_out:
        warn(
            f"config.toml was written anew without {len(configuration.left_out)} lines of the backup's: "
            + " | ".join(line[:_SHOWN_CHARACTERS] for line in configuration.left_out[:_SHOWN_LINES])
        )


def _warn_validator(signs_above: int | None) -> None:
    if signs_above is None:
        warn("this validator follows and signs nothing; restore with --as-validator once the old node is gone for good")
    else:
        warn(f"this validator signs above height {signs_above}: if the old node still runs, it would sign twice")


def _summary(manifest: BackupManifest) -> dict[str, object]:
    from shuiqiao.base.clock import iso_from_ms

    return {
        "network": manifest.network,
        "member": manifest.member,
        "created": iso_from_ms(manifest.created_ms),
        "height": manifest.ledger.height,
        "size": manifest.ledger.size,
        "root": manifest.ledger.root,
        "files": len(manifest.files),
        "signed_by": manifest.key,
        "validator": manifest.validator,
        "passphrase": manifest.passphrase,
        "database": manifest.database,
    }


def _show(result: dict[str, object], *, as_json: bool) -> None:
    told = result if as_json else {name: value for name, value in result.items() if value is not None}
    show(told, as_json=as_json, speak=partial(say_rows, width=12))
