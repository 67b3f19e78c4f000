"""A record becomes a row, the bytes that COPY writes; and a row becomes a record again."""
