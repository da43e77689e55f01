"""The order and repetition of exports never decide which invoices are live."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from vault_world import CATALOGUE, VaultWorld, invoice, write_rows

FIRM = "91320100MA1000000A"
STATUSES = CATALOGUE.get("invoice_issued").field("status").code_list.codes
EXPORTS = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STATUSES)), min_size=1, max_size=4), min_size=1, max_size=5
)


def live_after(exports):
    """The live (number, status) of a vault that read some exports, each a file of its own, and its ledger's word."""
    with TemporaryDirectory() as folder:
        world = VaultWorld(Path(folder) / "home", batch_depth=2)
        names = count()
        for rows in exports:
            path = Path(folder) / f"{next(names)}.parquet"
            world.ingest(
                write_rows(path, "invoice_issued", [invoice(number, status=status) for number, status in rows])
            )
        checked = world.verify(world.disclose(FIRM), status_of=world.status_of)
        rows = checked.types["invoice_issued@2"].rows.to_pylist()
        world.close()
    return sorted((row["invoice_no"], row["status"]) for row in rows)


@settings(max_examples=25, deadline=None)
@given(EXPORTS, st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_exports_gives_the_same_live_records(exports, random):
    # Holds [VAULT-IDENTITY-2]: of every number the furthest status is live, once.
    furthest = {}
    for number, status in (row for rows in exports for row in rows):
        furthest[number] = max(furthest.get(number, 0), STATUSES.index(status))
    expected = sorted((f"{number:08d}", STATUSES[rank]) for number, rank in furthest.items())
    shuffled = [random.sample(rows, len(rows)) for rows in exports + exports[:1]]
    random.shuffle(shuffled)
    assert live_after(exports) == expected
    assert live_after(shuffled) == expected
