"""Composition: one institution's settings, wiring and use cases."""
