"""HTTP: the routes of a running institution, and what every request must pass before it reaches one."""
