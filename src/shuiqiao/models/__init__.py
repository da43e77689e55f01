"""The registry of what may be computed on a provider's records: models registered, reviewed, approved and retired."""
