"""Holds a home against the rules that bind it, and tells which are met, with live evidence."""
