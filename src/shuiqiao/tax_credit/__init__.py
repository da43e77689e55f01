"""Tax credit 纳税缴费信用: the rules that lead from a year's events to a grade, and what is left to repair."""
