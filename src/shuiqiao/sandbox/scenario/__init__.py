"""The whole Bank-Tax Interaction loop, played on real nodes with real cryptography and a durable ledger."""
