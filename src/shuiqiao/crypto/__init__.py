"""Cipher suites, keys, signing and sealing. Knows bytes; knows nothing of transactions or taxes."""
