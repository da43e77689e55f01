"""Receipts: one small file by which an outsider checks a transaction with the genesis alone."""
