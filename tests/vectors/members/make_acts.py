"""Makes acts.json: digests by which approvals name acts [MEMBER-23], as the product computes them.

``.venv/bin/python tests/vectors/members/make_acts.py > tests/vectors/members/acts.json``
"""

from __future__ import annotations

import json
import sys

import msgspec

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.action import SetQuorum, Suspend, act_digest
from shuiqiao.members.contract import PROPOSE, SUSPEND, ByVote, Emergency, MemberProposeBody, MemberSuspendBody

SUSPENSION = MemberProposeBody(action=Suspend(member="bank-east"), deadline_ms=1_775_000_000_000)
NETWORKS = (bytes(range(32)), bytes(32))
ACTS = [
    (PROPOSE, SUSPENSION, "bureau", NETWORKS[0]),
    (PROPOSE, SUSPENSION, "bureau", NETWORKS[1]),
    (PROPOSE, SUSPENSION, "bank-west", NETWORKS[0]),
    (PROPOSE, MemberProposeBody(action=SetQuorum(quorum_count=2), deadline_ms=1), "bureau", NETWORKS[0]),
    (SUSPEND, MemberSuspendBody(member="bank-east", ground=ByVote(proposal=b"p" * 32)), "bureau", NETWORKS[0]),
    (
        SUSPEND,
        MemberSuspendBody(member="bank-east", ground=Emergency(until_ms=7, evidence_digest=b"e" * 32)),
        "regulator",
        NETWORKS[1],
    ),
]


def vector(suite_name: str) -> dict[str, object]:
    suite = get_suite(suite_name)
    return {
        "suite": suite_name,
        "acts": [
            {
                "kind": kind,
                "author": author,
                "network": network.hex(),
                "body": encode_cbor(msgspec.to_builtins(body, builtin_types=(bytes,))).hex(),
                "digest": act_digest(body, kind=kind, author=MemberId(author), network=network, suite=suite).hex(),
            }
            for kind, body, author, network in ACTS
        ],
    }


if __name__ == "__main__":
    source = "docs/spec/members.md [MEMBER-23], made by make_acts.py with the product's own code"
    json.dump({"source": source, "suites": [vector("intl"), vector("gm")]}, sys.stdout, indent=1)
    sys.stdout.write("\n")
