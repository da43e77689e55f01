"""Backups of a home: taken, looked at, and made into a home again."""
