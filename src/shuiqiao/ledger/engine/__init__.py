"""The engines that run the pure ledger: the writer, its followers, and the processes that verify for them."""
