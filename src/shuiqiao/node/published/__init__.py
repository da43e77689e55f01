"""What an institution hands to outsiders: static files of its log, and their verification."""
