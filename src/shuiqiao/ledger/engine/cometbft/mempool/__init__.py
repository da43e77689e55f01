"""Transactions before they stand in a block: checked once, bundled, and kept until a block holds them."""
