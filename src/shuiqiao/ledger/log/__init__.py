"""The Merkle log: its leaves, its roots and its proofs, and the block entry that closes a block."""
