"""E-invoices (数电票): whether one is what a tax bureau issued."""
