from __future__ import annotations

import json
import os
import signal
from collections import Counter
from datetime import date

import pytest

from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.vault.contract import AMEND, COMMIT
from vault_world import CATALOGUE, EVER, grade, invoice, payment, write_rows
from worker_pids import worker_pids

SUITES = ("intl", "gm")


def lines_of(report):
    return [json.loads(line) for line in report.report.read_text().splitlines()]


def assert_every_row_is_accounted_for(report):
    # Holds [VAULT-INGEST-1].
    kept_out = report.records_quarantined + report.duplicates_reported
    assert report.records_read == report.records_ingested + kept_out


@pytest.mark.parametrize("suite", SUITES)
def test_records_are_anchored_in_full_batches_and_a_rest(open_world, tmp_path, suite):
    world = open_world(suite)
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(20)))
    report = world.ingest(path)
    assert (report.records_read, report.records_ingested, report.anchors) == (20, 20, 3)
    counts = [world.batch_of(batch).count for batch in world.anchored_batches()]
    assert counts == [8, 8, 4]
    assert world.verify(world.disclose("91320100MA1000000A"), status_of=world.status_of).record_count == 20
    assert world.problems() == []


def test_what_is_disclosed_is_what_was_ingested(open_world, tmp_path):
    world = open_world()
    rows = [invoice(number, uscc=f"9132010{number % 3}") for number in range(30)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    for uscc in {row["uscc"] for row in rows}:
        found = world.verify(world.disclose(uscc)).types["invoice_issued@2"].rows.to_pylist()
        given = [
            {name: row.get(name) for name in CATALOGUE.get("invoice_issued").field_names}
            for row in rows
            if row["uscc"] == uscc
        ]
        assert sorted(found, key=lambda row: row["invoice_no"]) == sorted(given, key=lambda row: row["invoice_no"])


def test_rows_of_a_chunk_lie_together_by_taxpayer_and_in_time_order(open_world, tmp_path):
    world = open_world(batch_depth=6)
    rows = [invoice(number, uscc=f"9132010{number % 4}") for number in range(64)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    proven = world.disclose("91320102").types[0].proofs[0]
    assert list(range(32, 48)) == proven.indexes.tolist()
    days = world.disclose("91320102").types[0].rows.column("issue_date").to_pylist()
    assert sorted(days) == days


def test_a_repeated_row_is_reported_with_the_place_it_was_first_seen_and_kept_out(open_world, tmp_path):
    world = open_world()
    first = write_rows(tmp_path / "a.parquet", "invoice_issued", [invoice(1), invoice(2), invoice(1)])
    second = write_rows(tmp_path / "b.parquet", "invoice_issued", [invoice(3), invoice(2)])
    report = world.ingest(first, second)
    assert_every_row_is_accounted_for(report)
    assert (report.records_ingested, report.duplicates_reported) == (3, 2)
    told = [(line["file"], line["row"], line["rule"], line["first_seen"]) for line in lines_of(report)]
    assert told == [
        ("a.parquet", 3, "duplicate", {"file": "a.parquet", "row": 1}),
        ("b.parquet", 2, "duplicate", {"file": "a.parquet", "row": 2}),
    ]


def test_rows_that_break_a_rule_are_listed_by_row_field_rule_and_value(open_world, tmp_path):
    # Holds [VAULT-INGEST-2].
    world = open_world()
    bad = invoice(2, total_fen=1)
    report = world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", [invoice(1), bad, invoice(3)]))
    assert_every_row_is_accounted_for(report)
    assert (report.records_ingested, report.records_quarantined) == (2, 1)
    (line,) = lines_of(report)
    assert (line["row"], line["rule"]) == (2, "amount_plus_tax_is_total")
    assert "total_fen=1" in line["value"]


def test_reading_the_same_file_again_changes_nothing(open_world, tmp_path):
    # Holds [VAULT-INGEST-3].
    world = open_world()
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(20)))
    world.ingest(path)
    anchored = world.anchored_batches()
    report = world.ingest(path)
    assert_every_row_is_accounted_for(report)
    assert (report.records_ingested, report.duplicates_reported, report.anchors) == (0, 20, 0)
    assert {line["rule"] for line in lines_of(report)} == {"already_ingested"}
    assert anchored == world.anchored_batches()


def test_other_values_under_a_natural_key_supersede_where_the_type_allows_it(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-2].
    world = open_world()
    uscc = "91320100MA1000000A"
    first = write_rows(tmp_path / "a.parquet", "tax_credit_grade", [grade(2023, "B"), grade(2024, "C")])
    world.ingest(first)
    before = world.disclose(uscc, {"tax_credit_grade": ["core"]})
    second = write_rows(tmp_path / "b.parquet", "tax_credit_grade", [grade(2024, "B")])
    report = world.ingest(second)
    assert (report.records_ingested, report.records_superseding) == (1, 1)
    after = world.verify(world.disclose(uscc, {"tax_credit_grade": ["core"]}), status_of=world.status_of)
    rows = after.types["tax_credit_grade@1"].rows.to_pylist()
    assert {(2023, "B"), (2024, "B")} == {(row["year"], row["grade"]) for row in rows}
    assert world.vault.count_live(uscc=uscc, type_id="tax_credit_grade", **EVER) == {"2023-12": 1, "2024-12": 1}
    # The old one stays provable, and whoever asks the ledger is told that it is old.
    assert world.verify(before).record_count == 2
    with pytest.raises(Conflict, match=r"vault\.superseded"):
        world.verify(before, status_of=world.status_of)


def test_versions_in_one_file_supersede_in_the_order_of_its_rows_and_a_rerun_changes_nothing(open_world, tmp_path):
    world = open_world()
    path = write_rows(
        tmp_path / "a.parquet", "tax_credit_grade", [grade(2024, letter) for letter in ("D", "C", "B", "C")]
    )
    report = world.ingest(path)
    assert (report.records_ingested, report.records_superseding) == (4, 3)
    wanted = {"tax_credit_grade": ["core"]}
    for _ in range(2):
        rows = world.disclose("91320100MA1000000A", wanted).types[0].rows.to_pylist()
        assert [row["grade"] for row in rows] == ["C"]
        assert world.ingest(path).duplicates_reported == 4


def test_other_values_of_a_type_without_versions_are_a_conflict_and_quarantined(open_world, tmp_path):
    world = open_world()
    rows = [payment(1), payment(2), payment(1, amount_fen=501)]
    report = world.ingest(write_rows(tmp_path / "a.parquet", "payment", rows))
    assert_every_row_is_accounted_for(report)
    assert (report.records_ingested, report.records_quarantined, report.duplicates_reported) == (2, 1, 0)
    (line,) = lines_of(report)
    assert (line["row"], line["rule"], line["first_seen"]["row"]) == (3, "identity_conflict", 1)


def test_types_may_be_mixed_and_each_has_its_own_batches(open_world, tmp_path):
    world = open_world()
    grades = write_rows(tmp_path / "g.parquet", "tax_credit_grade", [grade(2024, "B")])
    first = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(5)))
    second = write_rows(tmp_path / "b.parquet", "invoice_issued", map(invoice, range(5, 12)))
    assert world.ingest(first, grades, second).anchors == 3
    told = [(world.batch_of(batch).standard, world.batch_of(batch).count) for batch in world.anchored_batches()]
    assert told == [("invoice_issued@2", 8), ("invoice_issued@2", 4), ("tax_credit_grade@1", 1)]


def test_worker_processes_give_the_same_batches_as_one_process(open_world, tmp_path):
    path = write_rows(
        tmp_path / "a.parquet", "invoice_issued", [invoice(n % 55, uscc=f"9132010{n % 3}") for n in range(70)]
    )
    roots = []
    for workers in (0, 2):
        world = open_world("intl", folder=tmp_path / f"home-{workers}", workers=workers)
        seen: list[tuple[str, int, int | None]] = []
        report = world.vault.ingest([path], anchor=world.anchor, progress=lambda *at, seen=seen: seen.append(at))
        assert_every_row_is_accounted_for(report)
        assert seen[-1] == ("records read 读取记录", 70, 70)
        roots.append([(batch, world.batch_of(batch).root) for batch in world.anchored_batches()])
    assert roots[0] == roots[1]


def test_an_error_in_a_worker_process_arrives_with_its_code(open_world, tmp_path):
    world = open_world(workers=1)
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(64)))
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"standards\.file_unreadable"):
        world.ingest(path)


def test_the_period_of_a_batch_is_that_of_its_records(open_world, tmp_path):
    world = open_world()
    days = [date(2024, 5, 3), date(2024, 2, 1), date(2024, 9, 30)]
    rows = [invoice(number, issue_date=day) for number, day in enumerate(days)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    fact = world.batch_of(world.anchored_batches()[0])
    assert (fact.period_from, fact.period_to, fact.depth) == ("2024-02-01", "2024-09-30", 2)


class Interrupted(Exception):
    """The process stops here, as far as the vault can tell."""


class BrokenAnchor:
    """A way to the ledger that fails at its n-th submission, before or after the ledger took it."""

    def __init__(self, anchor, *, fail_at, after):
        self._anchor, self._left, self._after = anchor, fail_at, after
        self.member = anchor.member

    def state(self):
        return self._anchor.state()

    def submit(self, kind, body):
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Interrupted
        committed = self._anchor.submit(kind, body)
        if self._left == 0:
            raise Interrupted
        return committed


def test_a_person_who_interrupts_is_told_how_many_records_are_in(open_world, tmp_path):
    world, asked = open_world(), []

    def progress(*told):
        asked.append(told)
        if len(asked) == 3:
            raise KeyboardInterrupt

    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(30)))
    with pytest.raises(KeyboardInterrupt) as interrupted:
        world.vault.ingest((path,), anchor=world.anchor, progress=progress)
    held = sum(world.batch_of(batch).count for batch in world.anchored_batches())
    assert 0 < held < 30
    assert interrupted.value.__notes__[0].startswith(f"{held} records are in and stay")
    assert world.ingest(path).duplicates_reported == held


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_a_batch_written_but_not_anchored_is_shown_to_nobody_and_finished_by_the_next_run(
    open_world, tmp_path, fail_at, after
):
    # Holds [VAULT-STORE-3] [VAULT-ANCHOR-5] [VAULT-LIVE-1].
    world = open_world()
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(20)))
    with pytest.raises(Interrupted):
        world.ingest(path, anchor=BrokenAnchor(world.anchor, fail_at=fail_at, after=after))
    shown = world.disclose("91320100MA1000000A").record_count
    assert shown == 8 * (fail_at - 1)
    report = world.ingest(path)
    assert_every_row_is_accounted_for(report)
    assert report.duplicates_reported == min(20, 8 * fail_at)
    assert report.anchors == 3 - (fail_at - 1)
    assert world.verify(world.disclose("91320100MA1000000A")).record_count == 20
    assert set(Counter(world.anchored_batches()).values()) == {1}
    assert world.problems() == []


@pytest.mark.parametrize("after", [False, True])
def test_an_amendment_not_told_is_told_by_the_next_run(open_world, tmp_path, after):
    world = open_world()
    wanted = {"tax_credit_grade": ["core"]}
    world.ingest(write_rows(tmp_path / "a.parquet", "tax_credit_grade", [grade(2024, "C")]))
    path = write_rows(tmp_path / "b.parquet", "tax_credit_grade", [grade(2024, "B")])
    with pytest.raises(Interrupted):
        # The first submission anchors the batch, the second amends.
        world.ingest(path, anchor=BrokenAnchor(world.anchor, fail_at=2, after=after))
    shown = world.disclose("91320100MA1000000A", wanted).types[0].rows.to_pylist()
    assert [row["grade"] for row in shown] == ["C"]
    world.vault.recover(world.anchor)
    shown = world.verify(world.disclose("91320100MA1000000A", wanted), status_of=world.status_of)
    assert [row["grade"] for row in shown.types["tax_credit_grade@1"].rows.to_pylist()] == ["B"]
    kinds = [
        world.anchor.decode(raw).kind for block in world.ledger.blocks(from_height=1) for raw in block.transactions
    ]
    assert Counter(kinds) == {COMMIT: 2, AMEND: 1}


def test_a_source_that_breaks_off_loses_nothing_that_was_anchored(open_world, tmp_path):
    world = open_world()
    path = tmp_path / "a.csv"
    whole = tmp_path / "whole.parquet"
    write_rows(whole, "invoice_issued", map(invoice, range(20)))
    path.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(InvalidInput):
        world.ingest(whole, path)
    assert world.anchored_batches() == []
    assert world.ingest(whole).records_ingested == 20


def test_only_one_writer_at_a_time(open_world, tmp_path):
    world = open_world()
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(3)))
    with world.vault._writing(), pytest.raises(Unavailable, match=r"vault\.busy"):
        world.ingest(path)


def test_no_source_at_all_is_refused(open_world):
    with pytest.raises(InvalidInput, match=r"vault\.sources_count"):
        open_world().ingest()


def test_a_report_tells_nobody_else_what_it_holds(open_world, tmp_path):
    world = open_world()
    report = world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", [invoice(1), invoice(1)]))
    assert report.report.stat().st_mode & 0o077 == 0
    assert world.folder.joinpath("vault", "batches").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("workers", [2])
def test_an_anchor_that_fails_ends_an_ingest_with_workers_and_the_next_takes_it_up(open_world, tmp_path, workers):
    world = open_world(workers=workers)
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(200)))
    with pytest.raises(Interrupted):
        world.ingest(path, anchor=BrokenAnchor(world.anchor, fail_at=2, after=False))
    assert worker_pids("run_worker") == []
    assert world.ingest(path).anchors == 24
    assert world.verify(world.disclose("91320100MA1000000A")).record_count == 200


def test_a_worker_process_that_dies_is_told_and_the_next_run_takes_it_up(open_world, tmp_path):
    world = open_world(workers=1)
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(200)))

    def kill_workers(*_):
        for pid in worker_pids("run_worker"):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(Unavailable, match=r"vault\.worker_lost"):
        world.vault.ingest([path], anchor=world.anchor, progress=kill_workers)
    assert world.ingest(path).records_read == 200
    assert world.verify(world.disclose("91320100MA1000000A")).record_count == 200


def test_text_files_say_nothing_of_their_rows_and_are_ingested_alike(open_world, tmp_path):
    world = open_world()
    names = CATALOGUE.get("tax_credit_grade").field_names
    lines = [",".join(names), *(f"91320101,{year},B" + "," * (len(names) - 3) for year in (2022, 2023))]
    assert names[:3] == ("uscc", "year", "grade")
    path = tmp_path / "grades.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = world.ingest(path)
    assert (report.records_read, report.records_ingested) == (2, 2)
