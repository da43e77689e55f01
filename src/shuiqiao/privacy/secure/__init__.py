"""Scores of two parties that show each other nothing: the function, the links between members, and what computes."""
