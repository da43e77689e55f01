"""Scores of encrypted weights: the scheme, and the bytes in which keys and ciphertexts cross between members."""
