"""The alarm of a follower that caught the operator in two histories, kept with both signed notes as evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.files import read_regular

ALARM_VERSION = 1
MAX_ALARM_BYTES = 64 * 1024


class ForkKind(StrEnum):
    """In which way the operator's log is not the one this follower copied."""

    SHRUNK = "shrunk"
    """The signed log is shorter than one that was signed before."""
    ROOT_DIFFERS = "root_differs"
    """The same size was signed with another root, or the blocks handed out do not give the signed root."""
    NOT_AN_EXTENSION = "not_an_extension"
    """The longer log does not begin with the log that was copied."""
    BLOCK_INVALID = "block_invalid"
    """A signed block breaks the rules of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkAlarm:
    """What a follower found, with the evidence."""

    kind: ForkKind
    found_ms: int
    own_size: int
    own_root: bytes
    own_note: bytes
    """The last note of the operator that agreed with this copy; empty if there was none."""
    new_note: bytes
    """The operator's note that does not agree."""
    detail: str


class AlarmFile:
    """``alarms/fork`` of a ledger folder: written once, never replaced by a later alarm ([STORE-22])."""

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self.path = folder / "fork"
        self._disk = disk

    def load(self) -> ForkAlarm | None:
        """Return the alarm, None if there is none; raises IntegrityError ``ledger.alarm_damaged``."""
        if not self.path.exists():
            return None
        try:
            data = read_regular(self.path, max_bytes=MAX_ALARM_BYTES)
            fields = decode_cbor_strict(data, max_bytes=MAX_ALARM_BYTES)
            version, kind = fields.pop("version"), ForkKind(fields.pop("kind"))
            alarm = ForkAlarm(kind=kind, **fields)
        except (ShuiqiaoError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise IntegrityError("ledger.alarm_damaged", f"{self.path} cannot be read: {error}") from error
        if version != ALARM_VERSION:
            raise IntegrityError("ledger.alarm_damaged", f"{self.path} has version {version}, not {ALARM_VERSION}")
        return alarm

    def save(self, alarm: ForkAlarm) -> None:
        """Store the first alarm durably."""
        if not self.path.exists():
            fields = {"version": ALARM_VERSION, **asdict(alarm), "kind": str(alarm.kind)}
            replace_file(self.path, encode_cbor(fields), disk=self._disk)
