"""Taking records in: source rows are prepared, told from known ones, gathered into batches and anchored."""
