"""The engines, each over an open copy of the ledger: the writer, its followers, and validators under CometBFT."""
