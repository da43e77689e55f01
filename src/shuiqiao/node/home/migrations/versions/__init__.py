"""One file for each revision, named ``r<number>_<what it does>``."""
