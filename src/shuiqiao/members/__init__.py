"""Who is who: the genesis, members with roles and keys, and the taxpayers a bureau knows off the ledger."""
