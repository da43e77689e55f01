"""Accounts of one institution: who may do what at its server, by which proof, and the journal of what people did."""
