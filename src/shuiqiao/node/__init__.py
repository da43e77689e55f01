"""One institution at work: its home, ledger, outbox and services wired together, and what only a node can do."""
