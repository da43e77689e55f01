"""What is signed: transactions, their payloads and kinds, documents off the ledger, and who checks the signatures."""
