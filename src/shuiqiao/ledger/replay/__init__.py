"""The one way to execute or check a log again."""
