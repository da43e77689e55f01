"""The wire types of the public API, one file for each noun; routes and client use the same."""
