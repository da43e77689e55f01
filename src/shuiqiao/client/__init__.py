"""Speaking to a running institution over HTTP: the one client, the wire types of its API, and its refusals."""
