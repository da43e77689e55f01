"""What an institution does for a message of its API, from a caller of its server or a command in its own process."""
