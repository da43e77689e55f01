"""Shuiqiao 税桥: tax facts on a permissioned record ledger, used under consent, scored without leaving the dark."""

__version__ = "0.1.0"
