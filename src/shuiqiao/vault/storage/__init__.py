"""The files of a vault: two for each batch, and the index that says which record is where."""
