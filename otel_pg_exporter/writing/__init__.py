"""Batches on their way into the tables, or onto disk until the tables can have them."""
