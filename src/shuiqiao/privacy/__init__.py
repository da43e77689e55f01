"""What can be known of a taxpayer without its records: credentials of bands and flags, and what was learned so far."""
