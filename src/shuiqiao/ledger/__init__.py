"""Transactions, the state machine that accepts them, the log that proves them, and the engines that order them.

The ledger knows nothing of taxes, consents or loans: rooms above register their kinds with it.
"""
