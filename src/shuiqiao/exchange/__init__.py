"""Requests and answers between institutions under consent: checks, sealing, proofs, manifests, ceilings."""
