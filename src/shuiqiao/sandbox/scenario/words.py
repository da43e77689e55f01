"""The scenario's sentences in both languages: tampering acts, who sees what, assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperWords:
    """One act in words. code_begins: how the code begins that must catch it."""

    act_en: str
    act_zh: str
    caught_by_en: str
    caught_by_zh: str
    code_begins: str


TAMPER_WORDS: Mapping[str, TamperWords] = MappingProxyType(
    {
        "vault_byte_flip_caught": TamperWords(
            act_en="One bit was flipped in the middle of a batch file in a copy of the bureau's vault.",
            act_zh="在税务局数据库副本的批次文件中间翻转一个比特。",
            caught_by_en="Every leaf was recomputed and no longer led to the root on the ledger.",
            caught_by_zh="逐条重算叶子哈希，与账本上的根不再一致。",
            code_begins="vault.",
        ),
        "ledger_byte_flip_caught": TamperWords(
            act_en="One bit was flipped in a segment of a copy of the regulator's ledger.",
            act_zh="在监管方账本副本的分段文件中翻转一个比特。",
            caught_by_en="The replay from genesis named the file and the byte.",
            caught_by_zh="自创世起重放时指出了文件与位置。",
            code_begins="replay: ",
        ),
        "forged_invoice_caught": TamperWords(
            act_en="The amounts of one disclosed invoice were doubled, and a paper copy of an invented one handed in.",
            act_zh="将一张已披露发票的金额翻倍，并提交一张虚构发票的纸质复印件。",
            caught_by_en="The altered record is no leaf of an anchored batch; the invented one is in no proven record.",
            caught_by_zh="被改的记录不属于任何锚定批次；虚构发票在已证明的记录中不存在。",
            code_begins="vault.leaf_mismatch",
        ),
        "revoked_consent_refused": TamperWords(
            act_en="A bank asked under a consent that the enterprise had just withdrawn.",
            act_zh="企业刚撤销授权，银行仍凭该授权请求数据。",
            caught_by_en="The ledger refused the request: the consent is revoked.",
            caught_by_zh="账本拒绝请求：授权已撤销。",
            code_begins="consent.revoked",
        ),
        "expired_consent_refused": TamperWords(
            act_en="A bank asked in the first block after a consent's last hour, on a copy of the ledger.",
            act_zh="在账本副本上，授权到期后的第一个区块中，银行仍凭该授权请求数据。",
            caught_by_en="The ledger's rules refused the request: the consent has expired.",
            caught_by_zh="账本拒绝请求：授权已过期。",
            code_begins="consent.expired",
        ),
        "withheld_record_caught": TamperWords(
            act_en="The bureau left the newest invoices out of an answer and signed a manifest to match.",
            act_zh="税务局在答复中隐去最新发票，并签署与之相符的清单。",
            caught_by_en="The regulator proved an anchored record of the period that the signed manifest leaves out.",
            caught_by_zh="监管方证明：该期间内有一条已锚定的记录未列入所签清单。",
            code_begins="exchange.record_withheld",
        ),
        "operator_rewrite_caught_by_follower": TamperWords(
            act_en="The operator wrote its log again without one decision, a little longer, and signed it.",
            act_zh="写入节点重写日志，抹去一笔审批并补足长度后重新签名。",
            caught_by_en="A bank's follower compared the signed roots, raised an alarm with both notes, and stopped.",
            caught_by_zh="银行的跟随节点比对签名的根，保留两份检查点作为证据并告警停机。",
            code_begins="ledger.fork_detected",
        ),
    }
)

VALIDATOR_WORDS: Mapping[str, TamperWords] = MappingProxyType(
    {
        **TAMPER_WORDS,
        "operator_rewrite_caught_by_follower": TamperWords(
            act_en="The bureau wrote the log again without one decision, longer, and cosigned it as a validator.",
            act_zh="税务局重写日志，抹去一笔审批并补足长度，再以验证节点身份签名。",
            caught_by_en="A bank held its two cosignatures against each other: evidence that anybody can check.",
            caught_by_zh="银行比对其前后两次签名，得到任何人都可核验的分叉证据。",
            code_begins="ledger.fork_detected",
        ),
    }
)
"""Where nobody signs alone, one validator's word is held against itself."""

COMMON_ASSUMPTIONS_EN = (
    "The share of customers lost at a rate (churn), the loss given default and the cost of funds are assumptions.",
    "Decision times are of this machine with all institutions in one process; network delays are not measured.",
    "There is no interface to a credit bureau in this run.",
)
COMMON_ASSUMPTIONS_ZH = (
    "客户流失曲线、违约损失率与资金成本为假设值。",
    "审批耗时为本机单进程内各机构合计，未包含网络时延。",
    "本次运行未接入征信机构。",
)
SYNTHETIC_ASSUMPTIONS_EN = (
    "Taxpayers are synthetic: every figure about risk says how the software works, not how firms behave.",
    "Defaults depend on a hidden health that no party sees; its weight is an assumption.",
)
SYNTHETIC_ASSUMPTIONS_ZH = (
    "纳税人为模拟数据：风险类指标仅说明软件运行方式，不代表真实企业行为。",
    "违约由各方均不可见的隐含健康度决定，其权重为假设值。",
)
RESEARCH_ASSUMPTIONS_EN = (
    "Invoices and outcomes are real; firms are pseudonyms.",
    "The data has no loan or default dates, so look-ahead in the outcome cannot be excluded.",
    "There is no tax credit grade, filing or payment in the data: the product has no grade gate.",
    "The bank's own rating column is not used, because it leaks the outcome.",
    "Every firm is assumed to ask for one million yuan, because the data has no requests.",
)
RESEARCH_ASSUMPTIONS_ZH = (
    "发票与违约结果为真实数据，企业为代号。",
    "数据没有放款与违约日期，无法排除结果中的前视偏差。",
    "数据中没有纳税信用等级、申报与缴款：产品不设等级准入。",
    "银行自有评级列泄露结果，未使用。",
    "数据中没有申请金额，假设每户申请一百万元。",
)
