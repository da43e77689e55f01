"""Credentials of bands and flags: what a bureau states, what the ledger knows of them, how a bank takes one."""
