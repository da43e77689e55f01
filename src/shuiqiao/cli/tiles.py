"""``shuiqiao tiles``: the log of a home as static files that anybody can copy, serve and check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shuiqiao.cli.output import print_json, progress_on_stderr, say

HOME_VARIABLE = "SHUIQIAO_HOME"

tiles_app = typer.Typer(help="The log as static files 静态日志文件.", no_args_is_help=True, rich_markup_mode=None)


@tiles_app.command("publish")
def tiles_publish(
    home: Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder of the institution.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder to publish to; else tiles_folder of node.toml 发布目录.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Write what is new of the log, then its signed checkpoint, while its node runs or not 发布静态日志."""
    from shuiqiao.node.home.ledger_place import LedgerPlace
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.published.tile_publication import publish_log, publishing_folder

    place = Home(home)
    folder = publishing_folder(place) if out is None else out
    with progress_on_stderr() as progress:
        found = publish_log(LedgerPlace.of_home(place), folder, progress=progress)
    result: dict[str, object] = {
        "folder": str(folder),
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "root": found.checkpoint.root.hex(),
        "published_before": found.before,
        "files_written": found.files,
        "cosigners": list(found.cosigners),
    }
    if json:
        print_json(result)
        return
    for name, value in result.items():
        say(f"{name:17} {', '.join(map(str, value)) if isinstance(value, list) else value}")
