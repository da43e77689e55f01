"""Files of e-invoices as a tax bureau issues them, signed and sealed by keys of this room: for tests and figures."""
