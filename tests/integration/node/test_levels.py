"""Fields above the open level leave a bureau with a reason alone, which its journal keeps [STD-70]."""

from __future__ import annotations

import json

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import Uscc
from shuiqiao.client.resources.records import PROVE_RECORD, SEARCH_RECORDS, RecordChoice, RecordSearch
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.operations.calling import Call
from shuiqiao.node.operations.performing import perform
from shuiqiao.node.operations.records import prove_record_at, search_records_at
from vault_world import EVER

CLOCK = ManualClock(worlds.NOW_MS)


@pytest.fixture
def home(tmp_path):
    made = worlds.solo_home(tmp_path / "home")
    path = worlds.record_files(tmp_path / "files")["registration"]
    with worlds.open_solo(made, CLOCK) as bureau:
        bureau.vault.ingest([path], anchor=bureau.outbox, record_type=bureau.catalogue.get("registration"))
    return made


def test_a_record_is_proven_with_a_guarded_group_for_a_reason_that_the_journal_has(home):
    with worlds.open_solo(home, CLOCK) as bureau:
        (leaf,) = bureau.vault.live_leaves(uscc=Uscc(worlds.TAXPAYER), type_id="registration", **EVER)
        call = Call.of_owner(bureau)
        chosen = RecordChoice(batch=leaf.batch.hex(), leaf=leaf.index, groups=("core", "person"))
        with pytest.raises(Denied, match=r"^standards\.reason_needed.*legal_rep_id \(level 4\)"):
            perform(PROVE_RECORD, chosen, call=call)
        told = perform(PROVE_RECORD, chosen.model_copy(update={"reason": "legal_order"}), call=call)
        assert b"legal_rep_id" in bytes.fromhex(told.evidence)
        open_ = perform(PROVE_RECORD, chosen.model_copy(update={"groups": ("core",)}), call=call)
        assert b"legal_rep_id" not in bytes.fromhex(open_.evidence)
        rows = call.accounts.journal.rows(limit=9, act="records.prove")
        place = f"record/{chosen.batch}/{chosen.leaf}"
        assert [(place, "done"), (f"{place}/legal_order", "done"), (place, "standards.reason_needed")] == [
            (row["object"], row["outcome"]) for row in rows
        ]
    with read_home(home) as reader, pytest.raises(Denied, match=r"^standards\.reason_needed"):
        prove_record_at(reader, chosen)


def test_nobody_looks_for_a_guarded_value_without_a_reason(home):
    asked = RecordSearch(record_type="registration", values={"legal_rep_id": "440301199001011234"})
    with worlds.open_solo(home, CLOCK) as bureau:
        call = Call.of_owner(bureau)
        for question in (asked, asked.model_copy(update={"record_type": None})):
            with pytest.raises(Denied, match=r"^standards\.reason_needed"):
                perform(SEARCH_RECORDS, question, call=call)
        assert perform(SEARCH_RECORDS, asked.model_copy(update={"reason": "dispute"}), call=call).records == ()
        rows = call.accounts.journal.rows(limit=1, act="records.search")
        assert "values/dispute" == rows[0]["object"]
        assert perform(SEARCH_RECORDS, RecordSearch(taxpayer=worlds.TAXPAYER), call=call).records
    with read_home(home) as reader, pytest.raises(Denied, match=r"^standards\.reason_needed"):
        search_records_at(reader, asked)


def test_a_report_of_rows_kept_out_does_not_tell_a_guarded_value(home, tmp_path):
    good = worlds.record_files(tmp_path / "more")["registration"].read_text().splitlines()
    names = [*good[0].split(","), "legal_rep_id"]
    bad = tmp_path / "bad.csv"
    bad.write_text(",".join(names) + "\n" + good[1] + "," + "9" * 200 + "\n")
    with worlds.open_solo(home, CLOCK) as bureau:
        kind = bureau.catalogue.get("registration")
        report = bureau.vault.ingest([bad], anchor=bureau.outbox, record_type=kind)
    lines = [json.loads(line) for line in report.report.read_text().splitlines()]
    assert {("legal_rep_id", "***")} == {(line["field"], line["value"]) for line in lines}
