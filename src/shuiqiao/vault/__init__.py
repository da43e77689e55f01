"""One institution's private records: ingest, anchor, amend, prove, erase."""
