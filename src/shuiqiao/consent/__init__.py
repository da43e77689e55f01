"""The consent artefact 授权书, its life cycle, and its rules on the ledger."""
