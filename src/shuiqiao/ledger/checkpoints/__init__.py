"""Checkpoints: signed notes on the size and root of a log, who must sign them, and when they count."""
