"""E-invoices in OFD files (GB/T 33190): the package, its seals, and the values in it."""
