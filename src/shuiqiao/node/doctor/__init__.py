"""Examines a home and tells in words what is wrong with it, without changing a byte."""
