"""Features from tax records, scorecards, honest validation, reason codes, limits and prices."""
