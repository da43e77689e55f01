"""The ledger as CometBFT's application: proposals, blocks, vote extensions, snapshots and validators."""
