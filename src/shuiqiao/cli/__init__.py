"""The command line: a thin door over node and sandbox."""
