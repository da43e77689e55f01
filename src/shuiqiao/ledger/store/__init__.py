"""The ledger on disk: segment files are the truth, everything else is derived from them."""
