"""Make checkpoints_intl.json and checkpoints_gm.json: notes, cosignatures, fork evidence and tiles by a second way.

Nothing of the product is imported: Ed25519 is that of ``cryptography``, SM2 and SM3 are those of gmssl, trees follow the
recursion of RFC 6962 and notes are put together by hand. Private keys are numbers anybody may know.
Command: ``.venv/bin/python tests/vectors/ledger/make_checkpoints.py`` (writes both files beside it)
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gmssl import func, sm2, sm3

ORIGIN = "shuiqiao/" + bytes(range(32)).hex()
MEMBERS = ("first-bank", "regulator", "second-bank")
TIME_S = 1_775_000_000
LEAVES = [b"leaf %d" % number for number in range(300)]
OLD_SIZE, NEW_SIZE = 277, 300


class Intl:
    name = "intl"
    types = (b"\x01", b"\x04")

    def digest(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def public_key(self, number: int) -> bytes:
        return self._key(number).public_key().public_bytes_raw()

    def sign(self, number: int, message: bytes) -> bytes:
        return self._key(number).sign(message)

    def _key(self, number: int) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


class Gm:
    name = "gm"
    types = (b"\xffshuiqiao/sm2-sm3-v1", b"\xffshuiqiao/sm2-sm3-cosignature-v1")

    def digest(self, data: bytes) -> bytes:
        return bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(data)))

    def public_key(self, number: int) -> bytes:
        engine = sm2.CryptSM2(private_key="", public_key="")
        return b"\x04" + bytes.fromhex(engine._kg(number, engine.ecc_table["g"]))

    def sign(self, number: int, message: bytes) -> bytes:
        engine = sm2.CryptSM2(private_key=f"{number:064x}", public_key=self.public_key(number)[1:].hex(), asn1=False)
        # The nonce is fixed so that the file can be made again; a real signer draws it anew.
        nonce = self.digest(b"nonce" + number.to_bytes(32, "big") + message).hex()
        return bytes.fromhex(engine.sign_with_sm3(message, nonce))


def split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


class Tree:
    def __init__(self, suite: Intl | Gm, leaves: list[bytes]) -> None:
        self.suite = suite
        self.hashes = [suite.digest(b"\x00" + leaf) for leaf in leaves]
        self.known: dict[tuple[int, int], bytes] = {}

    def root(self, start: int, end: int) -> bytes:
        if end - start < 2:
            return self.hashes[start] if end > start else self.suite.digest(b"")
        if (start, end) not in self.known:
            middle = start + split(end - start)
            self.known[start, end] = self.suite.digest(b"\x01" + self.root(start, middle) + self.root(middle, end))
        return self.known[start, end]

    def inclusion(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + split(end - start)
        if index < middle:
            return [*self.inclusion(index, start, middle), self.root(middle, end)]
        return [*self.inclusion(index, middle, end), self.root(start, middle)]

    def consistency(self, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if old == end:
            return [] if whole else [self.root(start, end)]
        middle = start + split(end - start)
        if old <= middle:
            return [*self.consistency(old, start, middle, whole=whole), self.root(middle, end)]
        return [*self.consistency(old, middle, end, whole=False), self.root(start, middle)]


def text_of(tree: Tree, size: int) -> bytes:
    return f"{ORIGIN}\n{size}\n{base64.b64encode(tree.root(0, size)).decode()}\n".encode()


def line_of(suite: Intl | Gm, *, name: str, kind: bytes, number: int, signature: bytes) -> bytes:
    key_hash = suite.digest(name.encode() + b"\n" + kind + suite.public_key(number))[:4]
    return b"\xe2\x80\x94 " + name.encode() + b" " + base64.b64encode(key_hash + signature) + b"\n"


def operator_line(suite: Intl | Gm, text: bytes, *, number: int = 1) -> bytes:
    return line_of(suite, name=ORIGIN, kind=suite.types[0], number=number, signature=suite.sign(number, text))


def cosigned(text: bytes, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def cosignature_line(suite: Intl | Gm, text: bytes, *, member: str, number: int, time_s: int) -> bytes:
    signature = time_s.to_bytes(8, "big") + suite.sign(number, cosigned(text, time_s))
    return line_of(suite, name=f"{ORIGIN}/{member}", kind=suite.types[1], number=number, signature=signature)


def refused(suite: Intl | Gm, text: bytes, own: bytes, lines: list[bytes]) -> list[dict[str, str]]:
    other = text.replace(b"\n300\n", b"\n299\n")
    stranger = cosignature_line(suite, text, member="third-bank", number=9, time_s=TIME_S)
    foreign_key = cosignature_line(suite, text, member="regulator", number=9, time_s=TIME_S)
    cases = {
        ("a quorum is missing", "ledger.quorum_missing"): [text, b"\n", own, lines[0]],
        ("no operator's line", "ledger.checkpoint_foreign"): [text, b"\n", lines[0], lines[1]],
        ("cosignatures in another order", "ledger.checkpoint_malformed"): [text, b"\n", own, lines[1], lines[0]],
        ("a cosignature twice", "ledger.checkpoint_malformed"): [text, b"\n", own, lines[0], lines[0], lines[1]],
        ("the operator's line last", "ledger.checkpoint_foreign"): [text, b"\n", lines[0], lines[1], own],
        ("a stranger", "ledger.cosigner_unknown"): [text, b"\n", own, *lines, stranger],
        ("another key of a witness", "ledger.cosigner_unknown"): [text, b"\n", own, lines[0], foreign_key],
        ("another text", "ledger.checkpoint_signature_invalid"): [other, b"\n", own, *lines],
        ("another text with the operator's word", "ledger.cosignature_invalid"): [
            other,
            b"\n",
            operator_line(suite, other),
            *lines,
        ],
        ("a signature of the operator over a cosignature's message", "ledger.checkpoint_signature_invalid"): [
            text,
            b"\n",
            line_of(suite, name=ORIGIN, kind=suite.types[0], number=1, signature=suite.sign(1, cosigned(text, TIME_S))),
            *lines,
        ],
        ("an extension line", "ledger.checkpoint_malformed"): [text, b"extension\n\n", own, *lines],
        ("no newline at the end", "ledger.checkpoint_malformed"): [text, b"\n", own, lines[0], lines[1][:-1]],
    }
    return [{"what": what, "code": code, "note": b"".join(parts).decode()} for (what, code), parts in cases.items()]


def witness_vectors(suite: Intl | Gm, tree: Tree, forked: Tree) -> dict[str, object]:
    old_text, new_text, fork_text = text_of(tree, OLD_SIZE), text_of(tree, NEW_SIZE), text_of(forked, NEW_SIZE)
    notes = {
        name: text + b"\n" + operator_line(suite, text)
        for name, text in (("old", old_text), ("new", new_text), ("forked", fork_text))
    }
    proofs = {
        name: one.consistency(OLD_SIZE, 0, NEW_SIZE, whole=True) for name, one in (("new", tree), ("forked", forked))
    }
    request = f"old {OLD_SIZE}\n".encode()
    request += b"".join(base64.b64encode(item) + b"\n" for item in proofs["new"])
    evidence = {"version": 1, "old_note": notes["old"], "new_note": notes["forked"], "proof": proofs["forked"]}
    same_size = {"version": 1, "old_note": notes["new"], "new_note": notes["forked"], "proof": []}
    wrong = {**evidence, "proof": proofs["new"]}
    return {
        "notes": {name: note.decode() for name, note in notes.items()},
        "proof": [item.hex() for item in proofs["new"]],
        "forked_proof": [item.hex() for item in proofs["forked"]],
        "request": (request + b"\n" + notes["new"]).decode(),
        "evidence_not_an_extension": cbor2.dumps(evidence, canonical=True).hex(),
        "evidence_root_differs": cbor2.dumps(same_size, canonical=True).hex(),
        "evidence_unproven": cbor2.dumps(wrong, canonical=True).hex(),
    }


def tile_vectors(suite: Intl | Gm, tree: Tree) -> dict[str, object]:
    def bundle(start: int, end: int) -> bytes:
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in LEAVES[start:end])

    files = {
        "tile/0/000": b"".join(tree.hashes[:256]),
        "tile/0/001.p/44": b"".join(tree.hashes[256:]),
        "tile/1/000.p/1": tree.root(0, 256),
        "tile/entries/000": bundle(0, 256),
        "tile/entries/001.p/44": bundle(256, 300),
    }
    return {
        "leaves": "300 leaves, the ASCII texts 'leaf 0' to 'leaf 299'",
        "files": {path: {"bytes": len(data), "digest": suite.digest(data).hex()} for path, data in files.items()},
        "inclusion": {str(i): [item.hex() for item in tree.inclusion(i, 0, NEW_SIZE)] for i in (0, 255, 256, 299)},
    }


def vectors(suite: Intl | Gm) -> dict[str, object]:
    tree = Tree(suite, LEAVES)
    forked = Tree(suite, [*LEAVES[:200], b"another leaf", *LEAVES[201:]])
    text = text_of(tree, NEW_SIZE)
    own = operator_line(suite, text)
    lines = [
        cosignature_line(suite, text, member=member, number=number, time_s=TIME_S + number)
        for number, member in enumerate(MEMBERS[:2], start=2)
    ]
    return {
        "source": "c2sp.org signed-note, tlog-checkpoint, tlog-cosignature v1, tlog-witness, tlog-tiles"
        + ("" if suite.name == "intl" else "; types, hash and signature as in docs/spec/checkpoints.md"),
        "command": "python tests/vectors/ledger/make_checkpoints.py",
        "suite": suite.name,
        "origin": ORIGIN,
        "operator": {"private_key": f"{1:064x}", "public_key": suite.public_key(1).hex()},
        "witnesses": {member: suite.public_key(n).hex() for n, member in enumerate(MEMBERS, start=2)},
        "quorum": 2,
        "text": text.decode(),
        "root": tree.root(0, NEW_SIZE).hex(),
        "cosigned_messages": [cosigned(text, TIME_S + number).decode() for number in (2, 3)],
        "operator_line": own.decode(),
        "cosignature_lines": [line.decode() for line in lines],
        "note": (text + b"\n" + own + b"".join(lines)).decode(),
        "validators_note": (text + b"\n" + b"".join(lines)).decode(),
        "refused": refused(suite, text, own, lines),
        "witness": witness_vectors(suite, tree, forked),
        "tiles": tile_vectors(suite, tree),
    }


def main() -> None:
    for suite in (Intl(), Gm()):
        path = Path(__file__).with_name(f"checkpoints_{suite.name}.json")
        path.write_text(json.dumps(vectors(suite), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
