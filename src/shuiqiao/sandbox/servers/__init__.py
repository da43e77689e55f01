"""The scenario's institutions as servers of their own on this machine: made, started, asked and ended by commands."""
