"""Opening the keys of a home: where the passphrase comes from, and what is refused."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.node.home.keys import (
    MAX_PASSPHRASE_BYTES,
    read_passphrase,
)


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b" two words ", b" two words "),
        ("口令".encode(), "口令".encode()),
    ],
)
def test_a_passphrase_file_is_read_without_its_line_end(tmp_path, content, passphrase):
    (tmp_path / "p").write_bytes(content)
    assert read_passphrase(tmp_path / "p") == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * (MAX_PASSPHRASE_BYTES + 1)])
def test_a_passphrase_file_that_is_empty_or_too_long_is_unusable(tmp_path, content):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_passphrase(tmp_path / "p")
    assert caught.value.code == "node.passphrase_unusable"


def test_a_passphrase_file_without_end_is_not_read_to_its_end():
    from pathlib import Path

    with pytest.raises(InvalidInput):
        read_passphrase(Path("/dev/zero"))
