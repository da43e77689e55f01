"""Who is who on the network: the genesis, members and their roles and keys, and the taxpayers a bureau knows off the ledger."""
