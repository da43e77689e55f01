"""A seeded synthetic economy: taxpayers, what the bureau knows of them, what a bank knows, and who will default."""
