"""A finding of ``doctor``: one thing that was looked at, in English and Chinese, with a code where it is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shuiqiao.base.errors import (
    Conflict,
    Denied,
    IntegrityError,
    InvalidInput,
    ShuiqiaoError,
    Unavailable,
    next_step_shape,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. code: stable, of what is wrong; empty if all is well. says_zh: says, in Chinese."""

    what: str
    says: str
    code: str = ""
    next_step: str = ""
    says_zh: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.code

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, where something is wrong with its next step in both languages."""
        shape = {"what": self.what, "ok": self.ok, **asdict(self)}
        return shape | next_step_shape(self.code, next_step=self.next_step) if self.code else shape


_WORDS_OF_CLASS = {
    InvalidInput: "内容有误,需由提供者更正",
    Denied: "当前不被允许",
    Conflict: "与已发生的事实矛盾",
    Unavailable: "暂时不可用",
    IntegrityError: "完整性错误,须调查",
}

WORDS_OF_CODE = {
    "ledger.segment_damaged": "账本文件有一处损坏(见英文的文件、字节位置与区块);请用备份或其他成员的副本恢复,切勿删除",
    "ledger.segments_behind": "账本文件比索引或已签名检查点所示的要短,丢失了已确认的区块;请从备份或其他成员处恢复",
    "ledger.checkpoint_contradicted": "区块与已签名检查点不符,二者之一被改动;请从其他成员处恢复",
    "ledger.block_contradicted": "有区块不符合本网络规则;请用写入它的版本打开,或从其他成员处恢复",
    "ledger.note_malformed": "检查点文件不是可读的签名文书",
    "ledger.alarm_damaged": "分叉警报文件已损坏",
    "ledger.position_damaged": "共识位置记录与区块不符;请整体恢复账本目录,或通过状态同步重新加入",
    "ledger.locked": "账本正被另一个进程使用",
    "node.home_missing": "此目录不是机构主目录",
    "node.settings_invalid": "node.toml 有误",
    "node.genesis_missing": "找不到创世文件",
    "node.passphrase_missing": "没有提供密钥口令",
    "node.key_missing": "缺少密钥文件",
    "node.keys_foreign": "密钥属于其他成员或网络",
    "node.writer_unnamed": "本机构是跟随者,未提供通向记账者的连接",
    "node.writer_awaited": "本机账本副本尚未跟上记账者",
    "node.control_unreachable": "正在运行的进程没有应答其控制接口",
    "crypto.passphrase_wrong": "密钥口令不正确",
}
"""What an error that is met on the way means, in Chinese, where more can be said than its class."""


def finding_of_error(what: str, error: ShuiqiaoError) -> Finding:
    """Return the finding that an error is."""
    words = WORDS_OF_CODE.get(error.code) or next(
        (words for kind, words in _WORDS_OF_CLASS.items() if isinstance(error, kind)), "出错"
    )
    return Finding(what=what, says=error.message, code=error.code, next_step=error.next_step, says_zh=words)
