"""What is wrong with a home, found by looking, without changing a byte."""
