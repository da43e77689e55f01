"""Witnesses: who cosigns a log, only ever forward, and what proves that a log told two histories."""
