"""``verify``, ``receipt`` and ``tiles``: write receipts and the published log, and verify them offline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Conflict, ShuiqiaoError, Unavailable
from shuiqiao.base.files import share_file
from shuiqiao.cli.home import home_files, receipt_of, well_formed
from shuiqiao.cli.options import MAX_INDEX, Home, Json, OptionalHome, command_group
from shuiqiao.cli.output import (
    EXIT_DONE,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    joined,
    print_json,
    progress_on_stderr,
    say,
    say_next,
    say_rows,
    show,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.receipts.verification import VerifiedReceipt
    from shuiqiao.node.published.verification import ReceiptVerifier
    from shuiqiao.vault.evidence import VerifiedRecord

tiles_app = command_group("The log as static files 静态日志文件.")

_NOT_VALID = "NOT VALID 无效"
_NOT_VERIFIED = "NOT VERIFIED 未能核验"


def verify(
    *,
    files: Annotated[list[Path] | None, typer.Argument(help="Receipt files; none to verify --tiles itself.")] = None,
    genesis: Annotated[Path | None, typer.Option(help="The network's public genesis.json; or the home's.")] = None,
    home: OptionalHome = None,
    since: Annotated[
        Path | None,
        typer.Option(help="A checkpoint known to be true; receipts or log must be of one history with it 已知检查点."),
    ] = None,
    tiles: Annotated[
        Path | None, typer.Option(help="Folder of the log's static files, to verify, or to compare with 静态文件目录.")
    ] = None,
    json: Json = False,
) -> int:
    """Verify receipts, or a published log, offline, trusting the genesis alone 离线验证回执或日志."""
    from shuiqiao.node.published.verification import ReceiptVerifier

    if not files and tiles is None:
        raise typer.BadParameter("name receipt files, or --tiles FOLDER to verify a published log")
    verifier = ReceiptVerifier.from_genesis(genesis=genesis, home=home, since=since, tiles=tiles)
    if not files and tiles is not None:
        return _verify_log(verifier, tiles=tiles, as_json=json)
    return _verify_receipts(verifier, files or [], as_json=json)


def _verify_receipts(verifier: ReceiptVerifier, files: list[Path], *, as_json: bool) -> int:
    """Verify each file; exit 0 if all hold, 1 if one fails, 3 if none fails and one could not be read."""
    results = [_verify_one(verifier, path) for path in files]
    is_valid = all(result["valid"] for result in results)
    if as_json:
        print_json(_shape(results, is_valid=is_valid, genesis=verifier.fingerprint))
    else:
        _speak(results, genesis=verifier.fingerprint)
    if is_valid:
        return EXIT_DONE
    is_failed = any(not result["valid"] and not result.get("unavailable") for result in results)
    return EXIT_REFUSED if is_failed else EXIT_UNAVAILABLE


def _verify_log(verifier: ReceiptVerifier, *, tiles: Path, as_json: bool) -> int:
    """Verify a published log; exit 0 if it holds, 1 if it does not, 3 if files are missing."""
    code = EXIT_DONE
    result: dict[str, Any]
    try:
        with progress_on_stderr() as progress:
            result = _log_shape(verifier.verify_published(progress=progress), tiles=tiles, known=verifier.pinned)
    except ShuiqiaoError as error:
        result = _failed(error, folder=str(tiles))
        code = EXIT_UNAVAILABLE if isinstance(error, Unavailable) else EXIT_REFUSED
    result["genesis"] = verifier.fingerprint
    show(result, as_json=as_json, speak=_speak_log)
    return code


def receipt(
    *,
    home: Home,
    index: Annotated[int, typer.Argument(min=0, max=MAX_INDEX, help="The transaction's place in the log 日志位置.")],
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="A key of the state whose value, or absence, is proven too; repeatable 状态键."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default KIND-INDEX.receipt here.")] = None,
    json: Json = False,
) -> int:
    """Write the receipt of a transaction, which anybody with the genesis can verify 开具回执."""
    from shuiqiao.client.resources.ledger import ReceiptQuestion
    from shuiqiao.node.published.verification import ReceiptVerifier

    with well_formed():
        asked = ReceiptQuestion(index=index, state_key=tuple(state or ()))
    data = receipt_of(home, asked)
    verifier = ReceiptVerifier.from_genesis(genesis=None, home=home)
    verified = verifier.verify(data)
    path = out or Path(f"{verified.kind}-{index}.receipt")
    write_proof(path, data, is_one=partial(is_receipt, verifier))
    result = _told(path, verified)
    if json:
        print_json({**result, "genesis": verifier.fingerprint})
    else:
        say(f"written 已开具  {path} ({len(data)} bytes)")
        _speak([result], genesis=verifier.fingerprint)
    return EXIT_DONE


def write_proof(path: Path, data: bytes, *, is_one: Callable[[bytes], bool]) -> None:
    """Write a file that is handed out; an earlier one of its kind is replaced, and nothing else is.

    is_one: whether bytes are a file of its kind. Raises Conflict ``cli.file_in_use``.
    """
    if path.is_file() and not is_one(path.read_bytes()):
        raise Conflict("cli.file_in_use", f"{path} is another file already, and is not replaced")
    path.write_bytes(data)
    share_file(path)


def write_receipt(path: Path, data: bytes, *, hash_name: str) -> None:
    """Write what an institution handed out as a receipt, where it has that form; ``verify`` says whether it holds.

    Raises as ``write_proof``, and what ``decode_receipt`` raises.
    """
    from shuiqiao.ledger.receipts.receipt import decode_receipt

    def is_one(raw: bytes) -> bool:
        with suppress(ShuiqiaoError):
            decode_receipt(raw, hash_name=hash_name)
            return True
        return False

    decode_receipt(data, hash_name=hash_name)
    write_proof(path, data, is_one=is_one)


def hash_name_of(home: Path) -> str:
    """Return the hash of the network that a home is a member's of; raises what ``load_settings`` raises."""
    from shuiqiao.crypto.suites import get_suite
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.home.settings import load_settings

    return get_suite(load_settings(HomeFolder(home)).suite).hash_name


def write_receipts(folder: Path, receipts: Iterable[tuple[int | None, str | None]], *, hash_name: str) -> None:
    """Write receipts, in hex by the index of their entry, into a folder; those that are none are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, receipt in receipts:
        if receipt is not None:
            write_receipt(folder / f"{index}.receipt", bytes.fromhex(receipt), hash_name=hash_name)


def is_receipt(verifier: ReceiptVerifier, data: bytes) -> bool:
    """Tell whether bytes are a receipt that holds."""
    with suppress(ShuiqiaoError):
        verifier.verify(data)
        return True
    return False


def _log_shape(log: Any, *, tiles: Path, known: Any) -> dict[str, Any]:
    return {
        "valid": True,
        "folder": str(tiles),
        "origin": log.checkpoint.origin,
        "size": log.checkpoint.size,
        "root": log.checkpoint.root.hex(),
        "height": log.height,
        "time": iso_from_ms(log.time_ms),
        "cosigners": list(log.cosigners),
        "since_size": None if known is None else known.size,
        "consistent": None if known is None else True,
    }


def _speak_log(result: Mapping[str, Any]) -> None:
    say(f"genesis {result['genesis']} (compare this fingerprint with what you were given 请核对创世指纹)")
    if not result["valid"]:
        say(f"{_verdict(result)}  {result['folder']}: {result['code']}: {result['message']}")
        say_next(result)
        return
    signed = f"cosigned by {', '.join(result['cosigners'])}" if result["cosigners"] else "signed by the operator alone"
    say(
        f"valid 有效  {result['folder']}: {result['size']} leaves up to block {result['height']} of {result['time']}, "
        f"root {result['root']}, {signed}"
    )
    if result["consistent"]:
        say(f"consistent 一致  it contains the known checkpoint of {result['since_size']} leaves, unchanged")
    else:
        say("  note 说明: keep its checkpoint file, and name it next time with --since 请保存检查点供下次比对")


def _shape(results: list[dict[str, Any]], *, is_valid: bool, genesis: str) -> dict[str, Any]:
    """One receipt: its own object; several: a summary that holds them."""
    if len(results) == 1:
        return {**results[0], "genesis": genesis}
    return {"valid": is_valid, "genesis": genesis, "receipts": results}


def _verify_one(verifier: Any, path: Path) -> dict[str, Any]:
    try:
        verified = verifier.verify_file(path)
    except ShuiqiaoError as error:
        return _failed(error, file=str(path))
    from shuiqiao.vault.evidence import VerifiedRecord

    return _told_record(path, verified) if isinstance(verified, VerifiedRecord) else _told(path, verified)


def _failed(error: ShuiqiaoError, **place: str) -> dict[str, Any]:
    """What did not hold; ``unavailable`` where nobody knows whether it holds, which is no verdict."""
    unavailable = {"unavailable": True} if isinstance(error, Unavailable) else {}
    return {"valid": False, **place, **error.as_dict(), **unavailable}


def _verdict(failed: Mapping[str, Any]) -> str:
    return _NOT_VERIFIED if "unavailable" in failed else _NOT_VALID


def _told_record(path: Path, verified: VerifiedRecord) -> dict[str, Any]:
    """What the receipt of a record's anchor proves, and the record."""
    return {
        **_told(path, verified.receipt),
        "proves": list(verified.proves),
        "proves_zh": list(verified.proves_zh),
        "record": {
            "type": verified.standard,
            "batch": verified.batch.hex(),
            "leaf": verified.index,
            "status": str(verified.status),
            "groups": {group: dict(content) for group, content in verified.contents.items()},
        },
    }


def _told(path: Path, verified: VerifiedReceipt) -> dict[str, Any]:
    return {
        "valid": True,
        "file": str(path),
        "kind": verified.kind,
        "author": verified.author,
        "index": verified.index,
        "height": verified.height,
        "time": iso_from_ms(verified.time_ms),
        "checkpoint_size": verified.checkpoint.size,
        "checkpoint_root": verified.checkpoint.root.hex(),
        "cosigners": list(verified.cosigners),
        "epochs": verified.epochs,
        "signers": str(verified.signers),
        "state": [_claim(claim) for claim in verified.state],
        "proves": list(verified.proves),
        "does_not_prove": list(verified.does_not_prove),
        "proves_zh": list(verified.proves_zh),
        "does_not_prove_zh": list(verified.does_not_prove_zh),
    }


def _claim(claim: Any) -> dict[str, Any]:
    """A value of the state as hex of its CBOR; null where the state holds nothing."""
    return {"key": claim.key, "value": None if claim.value is None else claim.value.hex()}


def _speak_groups(record: dict[str, Any] | None) -> None:
    for group, content in ({} if record is None else record["groups"]).items():
        values = " ".join(f"{name}={joined(value)}" for name, value in content.items() if name not in {"group", "type"})
        say(f"  {group}: {values}")


def _speak(results: list[dict[str, Any]], *, genesis: str) -> None:
    say(f"genesis {genesis} (compare this fingerprint with what you were given 请核对创世指纹)")
    for result in results:
        if result["valid"]:
            say(f"valid 有效  {result['file']}: {' '.join(result['proves'])}")
            say(f"  {''.join(result['proves_zh'])}")
            _speak_groups(result.get("record"))
        else:
            say(f"{_verdict(result)}  {result['file']}: {result['code']}: {result['message']}")
            say_next(result)
    for verdict in (_NOT_VALID, _NOT_VERIFIED):
        files = [result["file"] for result in results if not result["valid"] and _verdict(result) == verdict]
        if files and len(results) > 1:
            say(f"{len(files)} of {len(results)} {verdict}: {', '.join(files)}")
    for names in ("does_not_prove", "does_not_prove_zh"):
        for caveat in next((result[names] for result in results if result["valid"]), ()):
            say(f"  note 说明: {caveat}")


@tiles_app.command("publish")
def tiles_publish(
    *,
    home: Home,
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder to publish to; else tiles_folder of node.toml 发布目录.")
    ] = None,
    json: Json = False,
) -> None:
    """Write what is new of the log, then its signed checkpoint, while its node runs or not 发布静态日志."""
    from shuiqiao.client.resources.upkeep import PUBLISH_LOG, PublicationFolder

    with home_files(home) as at_work, progress_on_stderr() as progress:
        folder = None if out is None else at_work.named(out)
        published = at_work.perform(PUBLISH_LOG, PublicationFolder(folder=folder), progress=progress)
    result = {**published.model_dump(mode="json"), "cosigners": list(published.cosigners)}
    show(result, as_json=json, speak=partial(say_rows, width=17, words=partial(joined, nothing="")))
