"""A seeded synthetic economy and the end-to-end scenario that the demo runs on real nodes."""
