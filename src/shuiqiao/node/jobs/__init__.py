"""Work that goes on without a person waiting: asked for, or done again and again, and seen wherever it stands."""
