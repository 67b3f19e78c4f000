"""One program for each store: the same spans into the same PostgreSQL, until they can be read."""
