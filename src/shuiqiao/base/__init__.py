"""Errors, ids, money, clock and encoding: what every room stands on. Knows nothing of taxes, ledgers or banks."""
