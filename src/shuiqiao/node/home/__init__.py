"""The folder of one institution: its settings, keys, database, and how it is made."""
