"""What is signed: transactions, their payloads and kinds, and the signed documents that travel off the ledger."""
