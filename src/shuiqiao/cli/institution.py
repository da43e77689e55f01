"""``ingest`` and ``keys``: one institution at work in its home."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from shuiqiao.base.ids import system_entropy
from shuiqiao.base.visible import visible_line
from shuiqiao.cli.home import home_at_work, home_files
from shuiqiao.cli.jobs import show_job
from shuiqiao.cli.options import Home, Json, OptionalHome, command_group
from shuiqiao.cli.output import (
    EXIT_DONE,
    EXIT_REFUSED,
    joined,
    print_json,
    program,
    progress_on_stderr,
    say,
    say_rows,
    show,
    warn,
)

if TYPE_CHECKING:
    from shuiqiao.client.resources.own_files import TakenIn

_STOP_FIRST: Final = (
    "stop the server, e.g. systemctl stop shuiqiao; change the passphrase; name its file where the server is started; "
    "start it again, which shows that it opens the keys"
)

keys_app = command_group("Show and check a home's keys 密钥.")


def ingest(
    *,
    files: Annotated[list[Path], typer.Argument(help="Parquet, CSV or NDJSON files of tax records.")],
    home: OptionalHome = None,
    record_type: Annotated[
        str | None, typer.Option("--type", help="Record type, if it cannot be seen from the columns.")
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="As a job of this home's server, which `jobs show` tells of 后台入库.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Take nothing in: say how each file would be read 仅说明读取方式.")
    ] = False,
    json: Json = False,
) -> int:
    """Validate records, keep them in the vault, anchor them on the ledger 入库并锚定; 1 if nothing was taken in."""
    if explain:
        return _explain(files, record_type=record_type, as_json=json)
    if home is None:
        raise typer.BadParameter("name the home that the records go to", param_hint="'--home'")
    if background:
        return _ask_ingest(files, home=home, record_type=record_type, as_json=json)
    from shuiqiao.client.resources.own_files import TAKE_IN_FILES, OwnFiles

    with home_at_work(home) as at_work, progress_on_stderr() as progress:
        named = OwnFiles(files=tuple(map(at_work.named, files)), record_type=record_type)
        taken = at_work.perform(TAKE_IN_FILES, named, progress=progress)
    if taken.settled:
        sys.stderr.write(f"{taken.settled}\n")
    if taken.refused:
        warn(taken.refused)
    if not taken.records_read:
        warn("no row was read: there are names of columns and nothing below them 文件只有表头,没有数据行")
    show_ingest(taken, as_json=json)
    return EXIT_DONE if taken.records_ingested or taken.anchors else EXIT_REFUSED


def _explain(files: list[Path], *, record_type: str | None, as_json: bool) -> int:
    """Say how files would be read: encoding, separator, meaning of the columns, first rows as they would be kept."""
    from shuiqiao.standards.publication import load_catalogue
    from shuiqiao.standards.readers.explanation import explain_source

    catalogue = load_catalogue()
    known = None if record_type is None else catalogue.get(record_type)
    told = {str(file): explain_source(file, record_type=known, catalogue=catalogue) for file in files}
    if as_json:
        print_json({"files": [{"file": file} | asdict(found) for file, found in told.items()]})
        return EXIT_DONE
    for file, found in told.items():
        head: dict[str, Any] = {
            "file 文件": file,
            "type 类型": found.record_type,
            "layout 版式": found.layout,
            "form 格式": found.form,
        }
        if found.encoding:
            head |= {"encoding 编码": found.encoding, "separator 分隔符": repr(found.separator)}
            head |= {"header in line 表头行": found.header_line}
        say_rows(head, width=24)
        for column in found.columns:
            line = f"column 列  {column.source} -> {column.field} {column.name_zh} {column.unit}"
            say(visible_line(line).rstrip())
        for name in found.ignored:
            say(visible_line(f"ignored 忽略  {name}"))
        for row in found.rows:
            cells = (f"{name} {value}" for name, value in row.items() if value is not None)
            say(visible_line(f"row 行  {', '.join(cells)}"))
        for issue in found.issues:
            say(visible_line(f"kept out 拒收  row {issue.row}, {issue.field or 'line'}: {issue.rule}, {issue.value}"))
    return EXIT_DONE


def _ask_ingest(files: list[Path], *, home: Path, record_type: str | None, as_json: bool) -> int:
    """Leave files to the server of a home, which takes them in where and when it can."""
    from shuiqiao.client.resources.own_files import ASK_INGEST, OwnFiles, path_text

    with home_at_work(home) as at_work:
        named = OwnFiles(files=tuple(path_text(file.absolute()) for file in files), record_type=record_type)
        job = at_work.perform(ASK_INGEST, named)
    show_job(job, as_json=as_json)
    if not as_json:
        say(f"next      {program()} jobs show {job.id[:16]}: the home's server does it")
    return EXIT_DONE


def show_ingest(taken: TakenIn, *, as_json: bool) -> None:
    """Show what became of the rows of files, and each anchor with its place in the log."""
    result = taken.model_dump(mode="json", exclude={"settled", "refused"})
    if as_json:
        print_json(result)
        return
    del result["anchored"]
    say_rows(result, width=20, words=_counted)
    for entry in taken.anchored:
        index = "earlier 此前" if entry.index is None else entry.index
        say(f"anchor 锚定 {index}  {entry.type}, {entry.records:,} records, batch {entry.batch}")


def _counted(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@keys_app.command("show")
def keys_show(*, home: Home, json: Json = False) -> None:
    """Show the public keys of a home, after opening the private ones 显示公钥."""
    from shuiqiao.client.resources.upkeep import READ_KEYS
    from shuiqiao.client.wire import Nothing

    with home_files(home) as at_work:
        keys = at_work.perform(READ_KEYS, Nothing())
    result = keys.model_dump(mode="json", exclude_none=True)
    show(result, as_json=json, speak=partial(say_rows, width=20))


@keys_app.command("change-passphrase")
def keys_change_passphrase(
    *,
    home: Home,
    to: Annotated[Path, typer.Option("--to", help="File that holds the new passphrase 新口令文件.")],
    json: Json = False,
) -> None:
    """Wrap a home's keys by another passphrase while no server of it runs; the keys stay as they are 更换口令."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.node.home.keys import change_passphrase, find_passphrase, read_new_passphrase
    from shuiqiao.node.home.server_lock import not_served
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.home.settings import load_settings

    folder, after = HomeFolder(home), read_new_passphrase(to)
    load_settings(folder)
    before = find_passphrase(folder)
    with not_served(folder, next_step=_STOP_FIRST):
        changed = change_passphrase(
            folder, before=before, after=after, now_ms=SystemClock().now_ms(), entropy=system_entropy
        )
    former = [str(path) for path in changed.former]
    result = {"home": str(home), "keys_wrapped": changed.keys_wrapped, "former_passphrase": former}
    show(result, as_json=json, speak=partial(say_rows, width=18, words=partial(joined, nothing="none lay here")))
    if not json:
        say(f"{'next':18} name {to} in SHUIQIAO_PASSPHRASE_FILE")
        say(f"{'backups of before':18} open by the former passphrase: keep it, away from them")
