"""One self-contained page that tells a stranger what a run of the scenario just did, with that run's own numbers."""
