"""A log as static files that anybody can copy, serve and check (c2sp.org/tlog-tiles)."""
