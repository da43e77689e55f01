"""The file of a backup: any tar program reads it, we read nothing else, and no byte of it is free."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto import intl
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.backup.archive import ArchiveWriter, header_of, read_archive, signed_message, verify_manifest

FILES = {"genesis.json": b"{}", "ledger/segments/1.segment": bytes(range(256)) * 5, "empty": b"", "block": bytes(512)}


def written(files):
    out = io.BytesIO()
    writer = ArchiveWriter(out, new_hash=hashlib.sha256)
    for name, data in files:
        writer.add(name, data)
    writer.end()
    return out.getvalue(), writer


def read(data):
    return [(found.name, b"".join(found.chunks())) for found in read_archive(io.BytesIO(data))]


def refusal(data):
    with pytest.raises(InvalidInput) as refused:
        read(data)
    return refused.value.code


def test_it_comes_back_as_it_was_and_any_tar_reads_it():
    data, writer = written(FILES.items())
    assert dict(read(data)) == FILES
    assert [(entry.name, entry.size) for entry in writer.entries] == [(n, len(d)) for n, d in FILES.items()]
    assert [entry.digest for entry in writer.entries] == [hashlib.sha256(d).hexdigest() for d in FILES.values()]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == FILES


def outcome(data):
    """What reading comes to: the files, or the code of the refusal."""
    try:
        return read(data)
    except InvalidInput as refused:
        return refused.code


def test_every_flipped_byte_is_refused_or_changes_what_is_hashed():
    data, _ = written(FILES.items())
    expected, free = read(data), []
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 0x01
        if outcome(bytes(altered)) == expected:
            free.append(at)
    assert free == []


def test_every_truncation_and_whatever_follows_is_refused():
    data, _ = written(FILES.items())
    for length in range(0, len(data), 97):
        assert refusal(data[:length]) in {"node.backup_truncated", "node.backup_malformed"}
    assert refusal(data + b"\x00") == "node.backup_malformed"
    assert refusal(data + data) == "node.backup_malformed"


@pytest.mark.parametrize(
    "member",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "genesis.json"},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"type": tarfile.GNUTYPE_LONGNAME, "size": 1 << 40},
        {"type": tarfile.XHDTYPE, "size": 1 << 40},
        {"mode": 0o4755},
        {"mtime": 1},
        {"uid": 1000},
        {"uname": "root"},
    ],
    ids=lambda member: " ".join(map(str, member.values())),
)
def test_nothing_but_plain_files_of_a_name_and_a_size(member):
    info = tarfile.TarInfo("x")
    info.mode = 0o600
    for name, value in member.items():
        setattr(info, name, value)
    assert refusal(info.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024)) == "node.backup_malformed"


def test_names_and_sizes_at_their_limits():
    huge = header_of("a" * 100, size=1 << 40)
    [found] = [next(read_archive(io.BytesIO(huge)))]
    assert (found.name, found.size) == ("a" * 100, 1 << 40)
    assert refusal(huge) == "node.backup_truncated"
    for name in ("", "a" * 101, "名"):
        with pytest.raises(ValueError, match="cannot be a name"):
            header_of(name, size=0)


@pytest.mark.parametrize(
    ("at", "byte", "named"),
    [(124, ord("9"), "'vault/a.leaves'"), (6, 0xFF, "'vault/\ufffd.leaves'")],
    ids=["size", "name"],
)
def test_a_damaged_header_is_told_with_the_file_that_it_is_of(at, byte, named):
    data, _ = written([("genesis.json", b"{}"), ("vault/a.leaves", b"leaf")])
    altered = bytearray(data)
    altered[data.index(b"vault/a.leaves") + at] = byte
    with pytest.raises(InvalidInput) as refused:
        read(bytes(altered))
    assert refused.value.code == "node.backup_malformed"
    assert f"the header of file {named} is damaged" in refused.value.message


def test_a_small_file_that_is_not_small_is_not_read():
    data, _ = written([("genesis.json", bytes(100))])
    with pytest.raises(InvalidInput) as refused:
        next(read_archive(io.BytesIO(data))).read(most=99)
    assert refused.value.code == "node.backup_malformed"


def test_a_source_that_shrinks_while_it_is_copied(tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(bytes(10))
    with path.open("rb") as file, pytest.raises(IntegrityError) as refused:
        ArchiveWriter(io.BytesIO(), new_hash=hashlib.sha256).add_file("x", file, size=11)
    assert refused.value.code == "node.backup_source_changed"


SUITE = get_suite("intl")


KEY = SUITE.signing_key_from_seed(bytes(32))


DATA = b"{}"


def test_a_manifest_is_called_altered_only_where_its_signature_does_not_hold(monkeypatch):  # [LEDGER-SIGN-4]
    signature = KEY.sign(signed_message(DATA, suite=SUITE))
    verify_manifest(DATA, signature=signature, key=KEY.public_key, suite=SUITE)
    with pytest.raises(IntegrityError, match=r"node\.backup_signature_invalid"):
        verify_manifest(b"{ }", signature=signature, key=KEY.public_key, suite=SUITE)

    def fail(*_arguments):
        raise RuntimeError("no")

    monkeypatch.setattr(intl, "crypto_sign_open", fail)
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        verify_manifest(DATA, signature=signature, key=KEY.public_key, suite=SUITE)
