"""Every file that a person names: special ones are refused at once, numbers of any length are refused by name."""

from __future__ import annotations

import os

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.keyfile import load_key_file
from shuiqiao.ledger.tiles.reader import FolderTiles
from shuiqiao.lending.catalogue import product_from_toml
from shuiqiao.members.genesis import genesis_from_members_toml
from shuiqiao.node.backup.reading import verify_backup
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.home.settings import Home, load_genesis, load_settings
from shuiqiao.node.localnet.making import complete_members
from shuiqiao.node.member_file import decode_admission, load_member_file
from shuiqiao.node.published.verification import load_known_checkpoint
from shuiqiao.standards.model import CodeList
from shuiqiao.standards.publication import load_catalogue, read_catalogue_file
from shuiqiao.standards.readers.source import open_source

READERS = {
    "genesis": load_genesis,
    "checkpoint": load_known_checkpoint,
    "passphrase": read_passphrase,
    "key file": lambda path: load_key_file(path, passphrase=b"secret"),
    "member file": lambda path: decode_admission(load_member_file(path), governing=False, witness=False),
    "tile": lambda path: FolderTiles(path.parent).get(path.name, max_bytes=10),
    "backup": verify_backup,
    "source": lambda path: open_source(path, record_type=None, catalogue=load_catalogue()),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_in_the_place_of_a_file_is_refused(read, kind, tmp_path):
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InvalidInput, match=r"^base\.file_special"):
        read(path)


def members(text):
    return complete_members(text, suite=None, engine=None, validators=0, entropy=os.urandom)


TOML_READERS = {
    "genesis": (lambda text: genesis_from_members_toml(text, created_ms=0), "members.toml_unreadable"),
    "network": (members, "node.members_unreadable"),
    "catalogue": (lambda text: read_catalogue_file(text, CodeList, source="c"), "standards.catalogue_invalid"),
    "product": (lambda text: product_from_toml(text, where="p"), "lending.product_invalid"),
}
NUMBERS = {
    "decimal": "1" * 4301,
    "hexadecimal": "0x" + "f" * 5000,
    "65 bits": str(1 << 64),
    "deep": "[" * 17 + "]" * 17,
    "too deep to read": "[" * 5000 + "]" * 5000,
    "bad date": "2024-02-30",
    "open": '"',
}


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize(("read", "code"), TOML_READERS.values(), ids=TOML_READERS)
def test_a_toml_value_that_cannot_be_held_is_refused_by_the_files_own_code(read, code, value):
    """An integer of 4,301 digits, which Python refuses to read, ended in its ValueError."""
    with pytest.raises(InvalidInput) as caught:
        read(f"value = {value}")
    assert caught.value.code == code
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_node_toml_and_a_member_file_as_well(value, tmp_path):
    home = Home(tmp_path)
    home.settings.write_text(f"value = {value}")
    with pytest.raises(InvalidInput, match=r"^node\.settings_invalid"):
        load_settings(home)
    with pytest.raises(InvalidInput, match=r"^node\.member_file_invalid"):
        decode_admission(load_member_file(home.settings), governing=False, witness=False)
