"""A consortium on one machine: one home per institution, all on loopback."""
