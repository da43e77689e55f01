"""The committed reference pages are what the code says: run ``make docs`` after changing an error, setting or option."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from shuiqiao.api.problems import INWARD

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    # As when the script is run: what lies beside it can be imported.
    sys.path.append(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "scripts" / "write_reference.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["write_reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(script):
    return script.pages()


@pytest.mark.parametrize(
    "name",
    ["errors.md", "settings.md", "cli.md", "record-types.md", "kinds.md", "roles.md", "modules.md", "obligations.md"],
)
def test_the_committed_page_is_what_is_generated(generated, name):
    committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == generated[name]


NAMES_A_FILE = re.compile(r"\{(path|folder|home|database|socket|file)\}|\{shown\}")

OF_COMMANDS_AND_CALLERS = {
    # Raised by commands, in their own process, of files that whoever calls them names.
    "client.",
    "cli.",
    "node.copy_missing",
    "node.founder_missing",
    "node.member_file_invalid",
    "node.members_",
    "node.network_",
    "node.control_",
    "node.process_unkillable",
    "node.receipt_unreadable",
    "node.restore_contradicted",
    "node.validator_file_wrong",
    "node.settings_invalid",
    "sandbox.",
    "standards.",
    "features.",
    "credit.",
    "lending.product_file_invalid",
    # Names of tiles and of queries, which the caller gave.
    "ledger.query_unknown",
    "ledger.tile_",
}


READ_BY_COMMANDS = ("cli/", "sandbox/", "node/home_reader.py", "node/institution.py", "vault/storage/index.py")
"""Where homes are opened and read, before anybody can ask a door."""


def test_a_message_that_names_a_file_of_the_home_is_for_its_owner(script):
    """[API-6]"""
    names = script.ERROR_CLASSES
    sites = [
        site for site in script.error_sites(names, code=script._first_argument) if NAMES_A_FILE.search(site.template)
    ]
    outside = {
        site.code
        for site in sites
        if not site.code.startswith((*INWARD, *OF_COMMANDS_AND_CALLERS)) and not site.file.startswith(READ_BY_COMMANDS)
    }
    assert len(sites) > 50
    assert outside == set()


def test_every_error_class_has_its_meaning_in_both_languages(script, generated):
    page = generated["errors.md"]
    for name, (english, chinese, _) in script.ERROR_CLASSES.items():
        assert f"| `{name}` | {english} | {chinese} |" in page
        assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_a_message_shows_what_is_filled_in(generated):
    page = generated["errors.md"]
    row = next(line for line in page.splitlines() if "`node.role_wrong`" in line)
    assert row.startswith("| `node.role_wrong` | Denied | {member} is a {role}; this is for a {role} ")
    assert "`node/home/settings.py`" in row


def test_messages_that_are_handed_to_a_maker_are_found(generated):
    row = next(line for line in generated["errors.md"].splitlines() if "`members.genesis_invalid`" in line)
    assert "two members share one {what}" in row
    assert "a network has 1 to {MAX_MEMBERS} members" in row


def test_every_command_option_and_setting_has_words(generated):
    for page in (generated["cli.md"], generated["settings.md"]):
        rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
        assert len(rows) > 5
        assert [row for row in rows if not row[-1].strip(" |")] == []


def test_every_command_is_there(generated):
    commands = re.findall(r"^## shuiqiao (.+)$", generated["cli.md"], flags=re.MULTILINE)
    assert {"demo", "init", "ingest", "verify", "audit", "doctor", "keys show", "bench anchor"} <= set(commands)
