"""Executing or checking a log again: one core, a level that says how much is asked, and what two ledgers differ in."""
