"""Make receipts_intl.json and receipts_gm.json: receipts over two changes of keys, with witnesses and values of the state.

A real ledger of five members writes them: the operator rotates its key, a vote changes the quorum, and a bank's consent is
not there. Beside receipts that hold stand ones that do not, each with the code of the first step it fails; those were
changed after they were made, with a digest that fits, so that the step itself has to notice.
Command: ``.venv/bin/python tests/vectors/ledger/make_receipts.py`` (writes both files beside it; SM2 signatures are drawn
anew, so the gm file changes with each run, and what it says does not)
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "worlds"))

from msgspec.structs import replace  # noqa: E402

from members_world import DAY_MS, START_MS, World, signing  # noqa: E402
from shuiqiao.base.clock import MS_PER_HOUR, ManualClock  # noqa: E402
from shuiqiao.base.encoding import decode_cbor, encode_cbor  # noqa: E402
from shuiqiao.base.ids import MemberId, owned_id  # noqa: E402
from shuiqiao.consent.contract import GRANT, PAUSE, ConsentGrantBody, ConsentPauseBody  # noqa: E402
from shuiqiao.consent.model import Purpose  # noqa: E402
from shuiqiao.ledger.checkpoints.note import sign_checkpoint  # noqa: E402
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note, encode_line  # noqa: E402
from shuiqiao.ledger.engine.embedded import EmbeddedLedger  # noqa: E402
from shuiqiao.ledger.engine.port import EmbeddedSettings  # noqa: E402
from shuiqiao.ledger.receipts.receipt import Receipt, decode_receipt, encode_receipt  # noqa: E402
from shuiqiao.ledger.witness.witness import Witness  # noqa: E402
from shuiqiao.members.action import SetQuorum  # noqa: E402
from shuiqiao.members.contract import (  # noqa: E402
    PROPOSE,
    REGISTER_WITNESS,
    ROTATE_KEY,
    VOTE,
    KeyPurpose,
    MemberProposeBody,
    MemberRotateKeyBody,
    MemberVoteBody,
    WitnessRegisterBody,
)
from shuiqiao.members.genesis import encode_genesis  # noqa: E402
from shuiqiao.node.home.kinds import network_kinds  # noqa: E402

WITNESSES = ("bank-east", "bank-north", "regulator")
GOVERNING = ("bank-east", "bureau", "regulator")
ABSENT = "consent/grant/bureau/00000000000000000000000000000001"
EPOCH = "members/epoch"


class Story:
    """A ledger over three epochs, and its receipts."""

    def __init__(self, suite_name: str, folder: Path) -> None:
        self.world = World(suite_name, witnesses=WITNESSES, quorum=1, governing=GOVERNING)
        self.suite = self.world.suite
        self.clock = ManualClock(START_MS + 1000)
        self.ledger = EmbeddedLedger.open(
            folder,
            parameters=self.world.parameters,
            kinds=network_kinds(),
            key_ring=self.world.machine.key_ring,
            clock=self.clock,
            operator_key=self.world.keys["bureau"],
            settings=EmbeddedSettings(map_bytes=1 << 28),
        )
        trail = self.ledger._copy.epochs.trail
        for name in WITNESSES:
            witness = Witness(
                folder / name, member=MemberId(name), key=signing(name, self.suite), suite=self.suite, clock=self.clock
            )
            witness.watch(self.world.parameters.policy, policy_at=trail.policy_at)
            self.ledger.add_witness(witness)

    def submit(self, kind: str, body: Any, *, author: str, keys: Any = None) -> int:
        self.world.time_ms = self.clock.now_ms()
        raw = self.world.sign(kind, body, author=author, keys=keys, valid_ms=DAY_MS // 2)
        return self.ledger.submit(raw).result(timeout=30).index

    def tell(self) -> dict[str, bytes]:
        """Play, and return the receipts that hold."""
        found: dict[str, bytes] = {}
        offer = WitnessRegisterBody(endpoint="https://bank-west.example:9000")
        first = self.submit(REGISTER_WITNESS, offer, author="bank-west")
        found["epoch 0"] = self.ledger.receipt(first)
        new = signing("bureau 2", self.suite)
        self.ledger.signer.add_key(new)
        old = self.world.keys["bureau"]
        body = MemberRotateKeyBody(purpose=KeyPurpose.SIGNING, new_key=new.public_key, proof=b"")
        rotation = self.submit(ROTATE_KEY, body, author="bureau", keys=[old, new])
        self.world.keys["bureau"] = new
        found["the rotation itself, under the old key"] = self.ledger.receipt(rotation)
        body = MemberProposeBody(action=SetQuorum(quorum_count=2), deadline_ms=self.clock.now_ms() + DAY_MS)
        self.submit(PROPOSE, body, author="bureau")
        proposal = self.world.digest(PROPOSE, body, author="bureau")
        for voter in ("bank-east", "regulator"):
            self.submit(VOTE, MemberVoteBody(proposal=proposal, approve=True), author=voter)
        last = self.submit(
            REGISTER_WITNESS, WitnessRegisterBody(endpoint="https://bureau.example:9000"), author="bureau"
        )
        found["epoch 2"] = self.ledger.receipt(last)
        found["an early transaction under today's keys"] = self.ledger.receipt(first)
        found |= self.tell_of_a_consent()
        found["values of the state"] = self.ledger.receipt(last, state_keys=[ABSENT, EPOCH])
        return found

    def tell_of_a_consent(self) -> dict[str, bytes]:
        """A consent is granted and pauses itself: the author of the pause is the consent, and its key stands in the state."""
        key, now_ms = signing("consent", self.suite), self.clock.now_ms()
        body = ConsentGrantBody(
            consent=bytes(15) + b"\x02",
            provider="bureau",
            recipient="bank-east",
            purpose=Purpose.ONE_TIME,
            valid_from_ms=now_ms - now_ms % MS_PER_HOUR,
            valid_to_ms=now_ms - now_ms % MS_PER_HOUR + DAY_MS,
            key=key.public_key,
            commitment=self.suite.digest(b"an artefact with its salt"),
        )
        grant = self.submit(GRANT, body, author="bureau", keys=[self.world.keys["bureau"], key])
        name = owned_id("bureau", body.consent)
        pause = self.submit(PAUSE, ConsentPauseBody(consent=name), author=name, keys=[key])
        return {
            "a consent that was granted": self.ledger.receipt(grant),
            "what a consent says itself": self.ledger.receipt(pause),
        }

    def spoil(self, receipts: dict[str, bytes]) -> list[dict[str, str]]:
        """Return receipts that do not hold, with their codes."""
        name = self.suite.hash_name
        full = decode_receipt(receipts["values of the state"], hash_name=name)
        early = decode_receipt(receipts["epoch 0"], hash_name=name)
        absent, present, author = full.state.claims
        assert [ABSENT, EPOCH, "members/member/bureau"] == [claim.key for claim in full.state.claims]
        one, two = full.epochs

        def with_claims(*claims: Any) -> Receipt:
            return replace(full, state=replace(full.state, claims=claims))

        def made(receipt: Receipt) -> bytes:
            return encode_receipt(receipt, hash_name=name)

        def changed(**values: Any) -> bytes:
            return made(replace(full, **values))

        lines = decode_signed_note(full.checkpoint).lines
        text = decode_signed_note(full.checkpoint).text
        short = text + b"\n" + b"".join(map(encode_line, lines[:2]))
        swapped = text + b"\n" + b"".join(map(encode_line, (lines[0], *reversed(lines[1:]))))
        checkpoint = self.ledger.checkpoint()
        stolen = sign_checkpoint(
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root,
            key=signing("bureau", self.suite),
            suite=self.suite,
        )
        fields = decode_cbor(made(full))
        raw = receipts["values of the state"]
        cases = {
            "one byte changed": (raw.replace(b"grant/bureau/00", b"grant/bureau/10"), "ledger.receipt_altered"),
            "a byte follows": (raw + b"\x00", ""),
            "an unknown field": (encode_cbor({**fields, "more": 1}), "ledger.receipt_malformed"),
            "version 2": (encode_cbor({**fields, "version": 2}), "ledger.receipt_version_unknown"),
            "no epochs": (changed(epochs=()), ""),
            "an epoch left out": (changed(epochs=(two,)), ""),
            "the last epoch left out": (changed(epochs=(one,)), "ledger.receipt_epochs_incomplete"),
            "epochs out of order": (changed(epochs=(two, one)), ""),
            "another epoch document": (
                changed(epochs=(one, replace(two, epoch=one.epoch))),
                "",
            ),
            "a cosignature short of the quorum": (changed(checkpoint=short), "ledger.quorum_missing"),
            "cosignatures out of order": (changed(checkpoint=swapped), "ledger.checkpoint_malformed"),
            "signed by the operator's former key": (changed(checkpoint=stolen.note), "ledger.checkpoint_foreign"),
            "a transaction of another place": (changed(transaction=early.transaction), "ledger.inclusion_broken"),
            "another index": (changed(index=full.index - 2), "ledger.inclusion_broken"),
            "a path cut short": (changed(path=full.path[:-1]), "ledger.inclusion_broken"),
            "an absence that is none": (with_claims(absent, replace(present, value=None), author), ""),
            "a presence that is none": (with_claims(replace(absent, value=b"\x01"), present, author), ""),
            "another value": (with_claims(absent, replace(present, value=one.epoch), author), ""),
            "claims out of order": (with_claims(present, absent), "ledger.receipt_malformed"),
            "a key that was replaced, and no proof of it": (with_claims(absent, present), "ledger.signature_missing"),
        }
        return [
            self._refused(title, data if isinstance(data, bytes) else made(data), code)
            for title, (data, code) in cases.items()
        ]

    def _refused(self, title: str, data: bytes, code: str) -> dict[str, str]:
        from shuiqiao.base.errors import ShuiqiaoError

        try:
            self.verify(data)
        except ShuiqiaoError as error:
            if code and error.code != code:
                raise AssertionError(f"{title}: {error.code} where {code} was meant") from error
            return {"title": title, "receipt": data.hex(), "code": error.code}
        raise AssertionError(f"{title} holds")

    def verify(self, data: bytes) -> Any:
        from shuiqiao.ledger.receipts.verification import verify_receipt

        return verify_receipt(
            data,
            parameters=self.world.parameters,
            kinds=network_kinds(),
            key_ring=self.world.machine.key_ring,
            suite=self.suite,
        )

    def document(self) -> dict[str, Any]:
        receipts = self.tell()
        return {
            "source": "made by tests/vectors/ledger/make_receipts.py",
            "specification": "docs/spec/ledger.md section 9",
            "suite": str(self.suite.name),
            "genesis": encode_genesis(self.world.genesis).decode(),
            "network": self.world.parameters.network.hex(),
            "valid": [self._told(title, data) for title, data in receipts.items()],
            "invalid": self.spoil(receipts),
        }

    def _told(self, title: str, data: bytes) -> dict[str, Any]:
        found = self.verify(data)
        return {
            "title": title,
            "receipt": data.hex(),
            "kind": found.kind,
            "author": found.author,
            "index": found.index,
            "height": found.height,
            "time_ms": found.time_ms,
            "size": found.checkpoint.size,
            "root": found.checkpoint.root.hex(),
            "operator": found.operator,
            "cosigners": list(found.cosigners),
            "epochs": found.epochs,
            "signers": str(found.signers),
            "state": {claim.key: None if claim.value is None else claim.value.hex() for claim in found.state},
        }


def main() -> None:
    for suite_name in ("intl", "gm"):
        with tempfile.TemporaryDirectory() as folder:
            story = Story(suite_name, Path(folder))
            document = story.document()
            story.ledger.close()
        path = HERE / f"receipts_{suite_name}.json"
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
